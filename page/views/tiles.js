/** The five figures, each with its change and its definition. */

import {change, DAY_FIGURES, FIGURES} from "../figures.js";
import {fill, h} from "../dom.js";

/** @import {Place} from "../address.js" */
/** @import {FigureName, Figures} from "../figures.js" */
/** @import {Formats} from "../format.js" */
/** @import {Surroundings} from "./view.js" */

/**
 * A figure's value as text.
 *
 * @param {Formats} formats
 * @param {FigureName} name
 * @param {number | null} value
 */
export function shown(formats, name, value) {
    if (value === null) return "–";
    if (name === "completion") return formats.share(value);
    return name === "watch" || name === "average" ? formats.duration(value) : formats.number(value);
}

/**
 * @param {Surroundings} around
 */
export function tiles(around) {
    const {words, formats} = around;
    const parts = FIGURES.map((name) => ({name, ...tile(name)}));
    const element = h("ul", {class: "tiles"}, ...parts.map((part) => part.element));

    /** @param {FigureName} name */
    function tile(name) {
        const value = h("span", {class: "value"});
        const changed = h("span", {class: "change"});
        const label = words.say(`figure.${name}`);
        const charted = DAY_FIGURES.find((each) => each === name);
        const button = charted
            ? h("button", {type: "button", class: "figure", click: () => around.go({figure: charted})}, label)
            : h("span", {class: "figure"}, label);
        const definition = h(
            "details",
            {},
            h("summary", {"aria-label": words.say("figure.what", {figure: label})}, words.say("figure.more")),
            h("p", {}, words.say(`define.${name}`)),
        );
        return {element: h("li", {class: "tile"}, button, value, changed, definition), button, value, changed};
    }

    return {
        element,
        /** @param {Place} place */
        move({figure}) {
            for (const {name, button} of parts) {
                if (button.tagName === "BUTTON") button.setAttribute("aria-pressed", String(name === figure));
            }
        },
        /**
         * @param {Figures} now
         * @param {Figures | null} before
         * @param {number} days  in each stretch; 0 when nothing is compared
         */
        show(now, before, days) {
            for (const {name, value, changed} of parts) {
                const bare = now[name];
                const error = name === "people" && bare ? ` ± ${formats.number(Math.ceil(bare * now.error))}` : "";
                fill(value, h("data", {value: bare ?? ""}, shown(formats, name, bare)), error && h("small", {}, error));
                fill(changed, days ? changeOf(name, now, before, days) : "");
            }
        },
    };

    /** @param {FigureName} name @param {Figures} now @param {Figures | null} before @param {number} days */
    function changeOf(name, now, before, days) {
        const changed = change(name, now, before);
        if (changed.kind === "unknown") return words.say("change.unknown");
        const n = days;
        if (changed.kind === "share") {
            return words.say("change.share", {n, days: formats.number(n), by: formats.growth(changed.by)});
        }
        if (changed.kind === "points") return words.say("change.points", {by: formats.points(changed.by)});
        return words.say(`change.${changed.kind}`);
    }
}

