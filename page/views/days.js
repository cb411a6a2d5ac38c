/** The chart of the days: the chosen figure, the range before, and today separately. */

import {bars} from "../charts/bars.js";
import {chart} from "../charts/figure.js";
import {shift, stretch} from "../days.js";
import {ofDay} from "../figures.js";
import {cells} from "./view.js";
import {shown} from "./tiles.js";

/** @import {DayFigure} from "../address.js" */
/** @import {Day, Report} from "../api.js" */
/** @import {Surroundings} from "./view.js" */
/** @typedef {{day: string, value: number | null, before: number | null, kind?: string}} Slot */

const HEIGHT = 240;

/**
 * A slot for each day of the range, and one for today. Pure.
 *
 * @param {Report} report
 * @param {Day[]} earlier  the days of the stretch before; none when nothing is compared
 * @param {Day} today
 * @param {DayFigure} figure
 * @returns {Slot[]}
 */
export function slotsOf({range, days}, earlier, today, figure) {
    const [now, before] = [days, earlier].map((each) => new Map(each.map((day) => [day.day, ofDay(day, figure)])));
    const slots = stretch(range.fromDay, range.toDay).map((day) => ({
        day,
        value: now?.get(day) ?? null,
        before: before?.get(shift(day, -range.days)) ?? null,
    }));
    return [...slots, {day: today.day, value: ofDay(today, figure), before: null, kind: "today"}];
}

/**
 * @param {Surroundings} around
 */
export function daysChart({words, formats}) {
    const part = chart(words, {name: words.say("days.name"), kind: "days"});

    /** @param {DayFigure} figure @param {Report} report @param {Slot[]} slots */
    function sentence(figure, report, slots) {
        const values = slots.filter((slot) => slot.kind !== "today" && slot.value !== null);
        const most = values.reduce((a, b) => ((b.value ?? 0) > (a?.value ?? -1) ? b : a), values[0]);
        const {fromDay, toDay} = report.range;
        const name = {figure: words.say(`figure.${figure}`), from: formats.day(fromDay), to: formats.day(toDay)};
        const sentences = [words.say("days.sentence", name)];
        if (most?.value) {
            const value = shown(formats, figure, most.value);
            sentences.push(words.say("days.most", {day: formats.weekday(most.day), value}));
        }
        if (slots.some((slot) => slot.before !== null)) {
            const n = report.range.days;
            sentences.push(words.say("days.dashed", {n, days: formats.number(n)}));
        }
        return [...sentences, words.say("days.hatched")].join(" ");
    }

    /** @param {DayFigure} figure @param {number} days @param {Slot} slot */
    function say(figure, days, slot) {
        const value = slot.value === null ? words.say("days.none") : shown(formats, figure, slot.value);
        const day = slot.kind ? words.say("days.today") : formats.weekday(slot.day);
        const here = words.say("days.stop", {day, figure: words.say(`figure.${figure}`), value});
        if (slot.before === null) return here;
        const before = shown(formats, figure, slot.before);
        return `${here}; ${words.say("days.before", {n: days, days: formats.number(days), before})}`;
    }

    return {
        element: part.element,
        /**
         * @param {Report} report
         * @param {Day[]} earlier
         * @param {Day} today
         * @param {DayFigure} figure
         */
        show(report, earlier, today, figure) {
            const slots = slotsOf(report, earlier, today, figure);
            const axis = figure === "watch" || figure === "average" ? formats.hours : formats.short;
            const word = (/** @type {number} */ n) => {
                const slot = /** @type {Slot} */ (slots[n]);
                return slot.kind ? "" : formats.shortDay(slot.day);
            };
            part.show({
                sentence: sentence(figure, report, slots),
                draw: (width) => bars(slots, {width, height: HEIGHT}, {axis, slot: word}),
                say: (stop) => say(figure, report.range.days, /** @type {Slot} */ (slots[stop])),
                table: {columns: columns(), rows: report.days.map(row)},
            });
        },
    };

    function columns() {
        return [
            {name: words.say("column.day")},
            {name: words.say("column.courseViews"), number: true},
            {name: words.say("column.people"), number: true},
            {name: words.say("column.watch"), number: true},
            {name: words.say("column.lectureViews"), number: true},
        ];
    }

    /** @param {Day} day */
    function row(day) {
        const cell = cells(formats);
        return {
            key: day.day,
            cells: [
                cell.day(day.day),
                cell.number(day.courseViews),
                cell.number(day.uniqueUsers),
                cell.duration(day.watchTimeSeconds),
                cell.number(day.lectureViews),
            ],
        };
    }
}
