/** The lectures of a course: as a funnel, and as a table that can be sorted. */

import {bars} from "../charts/bars.js";
import {chart} from "../charts/figure.js";
import {h} from "../dom.js";
import {largestDrop} from "../figures.js";
import {table} from "../table.js";
import {cells, link} from "./view.js";

/** @import {Place, SortKey} from "../address.js" */
/** @import {Step} from "../api.js" */
/** @import {Column, Row} from "../table.js" */
/** @import {Surroundings} from "./view.js" */

const HEIGHT = 200;

/** @type {Record<SortKey, (step: Step, n: number) => number>} */
const KEYS = {
    order: (_, n) => n,
    views: (step) => step.views,
    watch: (step) => step.watchTimeSeconds,
    retention: (step) => step.retentionRate,
    dropOff: (step) => step.dropOffRate,
};

/**
 * The lectures sorted by a column; ties in course order. Pure.
 *
 * @param {Step[]} steps
 * @param {SortKey} key
 * @param {boolean} down  the largest first
 */
export const sorted = (steps, key, down) =>
    steps
        .map((step, n) => ({step, n, value: KEYS[key](step, n)}))
        .sort((a, b) => (down ? b.value - a.value : a.value - b.value) || a.n - b.n);

/**
 * @param {Surroundings} around
 */
export function lectures(around) {
    const {words, formats} = around;
    const funnel = chart(words, {name: words.say("funnel.name"), kind: "funnel", onChoose: open});
    const list = table(words, words.say("lectures.title"));
    const element = h(
        "div",
        {},
        h("h2", {}, words.say("funnel.title")),
        funnel.element,
        h("h2", {}, words.say("lectures.title")),
        list.element,
    );
    /** @type {Step[]} */
    let steps = [];

    /** @param {number} n */
    function open(n) {
        const step = steps[n];
        if (step) around.go({lecture: step.lectureId});
    }

    /** @param {Step} step */
    const name = (step) => step.title || step.lectureId;

    function sentence() {
        const drop = largestDrop(steps);
        const first = words.say("funnel.sentence", {n: steps.length, lectures: formats.number(steps.length)});
        if (!drop) return [first];
        const values = {n: drop.lost, lost: formats.number(drop.lost), share: formats.share(drop.step.dropOffRate)};
        const lecture = link(around, {lecture: drop.step.lectureId}, name(drop.step));
        return [`${first} `, ...words.around("funnel.drop", {...values, before: name(drop.before), lecture})];
    }

    function draw(/** @type {number} */ width) {
        const drop = largestDrop(steps);
        const slots = steps.map((step, n) => ({value: step.views, ...(drop?.index === n && {kind: "drop"})}));
        const say = {axis: formats.short, slot: (/** @type {number} */ n) => formats.number(n + 1), room: 28};
        return bars(slots, {width, height: HEIGHT}, say);
    }

    /** @param {number} stop */
    function say(stop) {
        const step = /** @type {Step} */ (steps[stop]);
        const retention = formats.share(step.retentionRate);
        const views = formats.number(step.views);
        return words.say("funnel.stop", {number: stop + 1, lecture: name(step), n: step.views, views, retention});
    }

    /** @param {Step} step @param {number} n @param {boolean} linked @returns {Row} */
    function row(step, n, linked) {
        const cell = cells(formats);
        const title = linked ? link(around, {lecture: step.lectureId}, name(step)) : name(step);
        return {
            key: `${n} ${step.lectureId}`,
            cells: [
                {text: [h("span", {class: "order"}, `${formats.number(n + 1)}. `), title]},
                cell.number(step.views),
                cell.duration(step.watchTimeSeconds),
                cell.share(step.retentionRate),
                cell.share(step.dropOffRate),
            ],
        };
    }

    /** @param {Place | null} place  in which it can be sorted @returns {Column[]} */
    function columns(place) {
        /** @type {[SortKey, string][]} */
        const all = [
            ["order", words.say("column.lecture")],
            ["views", words.say("column.views")],
            ["watch", words.say("column.watch")],
            ["retention", words.say("column.retention")],
            ["dropOff", words.say("column.dropOff")],
        ];
        return all.map(([key, title], n) => {
            const column = {name: title, number: n > 0};
            if (!place) return column;
            const here = place.sort === key;
            const sort = () => around.go({sort: key, down: here ? !place.down : n > 0});
            return {...column, sorted: here ? (place.down ? "descending" : "ascending") : "none", sort};
        });
    }

    return {
        element,
        /** @param {Step[]} funnelSteps @param {Place} place */
        show(funnelSteps, place) {
            steps = funnelSteps;
            const rows = steps.map((step, n) => row(step, n, false));
            funnel.show({sentence: sentence(), draw, say, table: {columns: columns(null), rows}});
            list.show(
                columns(place),
                sorted(steps, place.sort, place.down).map(({step, n}) => row(step, n, true)),
            );
        },
    };
}
