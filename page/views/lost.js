/** The events that were not counted, and why. */

import {fill, h, toggle} from "../dom.js";
import {notCounted} from "../figures.js";
import {table} from "../table.js";
import {cells} from "./view.js";

/** @import {NotCounted} from "../api.js" */
/** @import {Surroundings} from "./view.js" */

/**
 * One line, which expands to the reasons, their meaning, and what to do.
 *
 * @param {Surroundings} around
 */
export function lost({words, formats}) {
    const line = h("summary");
    const events = h("p", {class: "repeated"}, words.say("lost.events"));
    const repeated = h("p", {class: "repeated"});
    const reasons = table(words, words.say("lost.name"));
    const none = h("p", {class: "lost"}, words.say("lost.none"));
    const details = h("details", {class: "lost"}, line, events, repeated, reasons.element);

    const columns = [
        {name: words.say("column.reason")},
        {name: words.say("column.events"), number: true},
        {name: words.say("column.watch"), number: true},
        {name: words.say("column.meaning")},
        {name: words.say("column.remedy")},
    ];

    /** @param {NotCounted} each */
    function row({reason, events, seconds}) {
        const cell = cells(formats);
        return {
            key: reason,
            cells: [
                {text: words.say(`reason.${reason}`)},
                cell.number(events),
                cell.duration(seconds),
                {text: words.say(`meaning.${reason}`)},
                {text: words.say(`remedy.${reason}`)},
            ],
        };
    }

    return {
        element: h("div", {}, none, details),
        /**
         * @param {NotCounted[]} all
         * @param {{courseViews: number, lectureViews: number}} counted
         */
        show(all, counted) {
            const sum = notCounted(all, counted);
            toggle(none, !sum.lost && !sum.repeated);
            toggle(details, Boolean(sum.lost || sum.repeated));
            const values = {n: sum.lost, lost: formats.number(sum.lost), events: formats.number(sum.events)};
            fill(line, words.say("lost.line", values));
            const twice = words.say("lost.repeated", {n: sum.repeated, events: formats.number(sum.repeated)});
            fill(repeated, sum.repeated ? twice : "");
            reasons.show(columns, all.map(row));
        },
    };
}
