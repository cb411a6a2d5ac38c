/** The selection of days, and whether they are compared. */

import {isDay, shift} from "../days.js";
import {fill, h, toggle} from "../dom.js";

/** @import {Place} from "../address.js" */
/** @import {Key} from "../words.js" */
/** @import {Surroundings} from "./view.js" */

/** @type {readonly [string, Key][]} */
const CHOICES = [["7", "range.7"], ["28", "range.28"], ["90", "range.90"], ["own", "range.own"], ["all", "range.all"]];
const MOST_DAYS = 366;

/**
 * @param {Surroundings} around
 */
export function rangeChoice(around) {
    const {words, go} = around;
    /** @type {Map<string, HTMLInputElement>} */
    const radios = new Map();
    const choices = CHOICES.map(([value, key]) => {
        const radio = h("input", {type: "radio", name: "analytics-range", value, change: () => choose(value)});
        radios.set(value, radio);
        return h("label", {}, radio, h("span", {}, words.say(key)));
    });
    const [from, to] = [dateInput(), dateInput()];
    const wrong = h("p", {class: "wrong", role: "alert"});
    const own = h(
        "form",
        {class: "own", hidden: true, novalidate: true, submit: take},
        h("label", {}, words.say("range.from"), " ", from),
        h("label", {}, words.say("range.to"), " ", to),
        h("button", {}, words.say("range.take")),
        wrong,
    );
    const compare = h("input", {type: "checkbox", change: () => go({compare: compare.checked})});
    const compares = h("label", {class: "compare"}, compare, h("span", {}, words.say("range.compare")));
    const element = h(
        "div",
        {class: "range"},
        h("fieldset", {}, h("legend", {class: "unseen"}, words.say("range.legend")), ...choices),
        compares,
        own,
    );

    function dateInput() {
        return h("input", {type: "date", required: true});
    }

    /** @param {string} value */
    function choose(value) {
        toggle(own, value === "own");
        if (value === "own") from.focus();
        else go({range: value});
    }

    /** @param {Event} event */
    function take(event) {
        event.preventDefault();
        const last = to.max;
        const fits = isDay(from.value) && isDay(to.value) && from.value <= to.value && (!last || to.value <= last);
        const few = fits && shift(from.value, MOST_DAYS - 1) >= to.value;
        fill(wrong, few ? "" : words.say("range.wrong", {last, days: MOST_DAYS}));
        if (few) go({range: `${from.value}..${to.value}`});
    }

    return {
        element,
        /** @param {Place} place */
        move({range, compare: compared}) {
            const chosen = radios.has(range) ? range : "own";
            /** @type {HTMLInputElement} */ (radios.get(chosen)).checked = true;
            toggle(own, chosen === "own");
            compare.checked = compared;
            toggle(compares, range !== "all");
            if (chosen === "own") [from.value, to.value] = /** @type {[string, string]} */ (range.split(".."));
        },
        /** Today, which no range has. @param {string} today */
        until(today) {
            for (const input of [from, to]) input.max = shift(today, -1);
        },
    };
}
