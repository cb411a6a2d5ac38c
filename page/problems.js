/** What the page shows when it has no numbers. */

import {h} from "./dom.js";

/** @import {Refused} from "./api.js" */
/** @import {Words} from "./words.js" */

/**
 * Why there is no response, and a retry button where that may help.
 *
 * @param {Words} words
 * @param {Refused} refused
 * @param {boolean} old  numbers from before are still shown
 * @param {import("./dom.js").Child} [way]  out of it
 */
export function problem(words, refused, old, way) {
    const key = `problem.${refused.problem}`;
    const text = words.say(/** @type {import("./words.js").Key} */ (key));
    const told = refused.problem === "invalid" && refused.message ? h("p", {class: "message"}, refused.message) : null;
    const again = h("button", {type: "button"}, words.say("again"));
    return h("div", {class: "problem"}, h("p", {}, text, old && ` ${words.say("problem.old")}`), told, way && h("p", {}, way), again);
}

/**
 * An input for a token; or, where the site provides the token, a button that asks the site again.
 *
 * @param {Words} words
 * @param {((token: string) => void) | null} enter
 * @param {() => void} retry
 */
export function signIn(words, enter, retry) {
    if (!enter) {
        const again = h("button", {type: "button", click: retry}, words.say("again"));
        return h("div", {class: "problem"}, h("p", {}, words.say("session.text")), again);
    }
    const input = h("input", {type: "password", autocomplete: "off", spellcheck: "false", required: true});
    return h(
        "form",
        {
            class: "sign-in",
            submit: (event) => {
                event.preventDefault();
                enter(input.value.trim());
            },
        },
        h("p", {}, words.say("sign.text")),
        h("label", {}, words.say("sign.token"), " ", input),
        h("button", {}, words.say("sign.in")),
    );
}
