/** A chart on the page: a sentence, a drawing with a cursor, and the same numbers as a table. */

import {fill, h, s} from "../dom.js";
import {table} from "../table.js";

/** @import {Words} from "../words.js" */
/** @import {Column} from "../table.js" */
/** @import {Drawing} from "./scale.js" */

/**
 * What a chart shows now.
 *
 * @typedef {object} Shown
 * @property {string | (string | Node)[]} sentence  what the chart shows, in words
 * @property {(width: number) => Drawing} draw
 * @property {(stop: number) => string} say  what the cursor reads there
 * @property {{columns: Column[], rows: import("../table.js").Row[]}} table
 */

const PAGE = 10;

/**
 * A chart that can be updated: it keeps its cursor, its focus and its open table.
 *
 * @param {Words} words
 * @param {{name: string, kind: string, onChoose?: (stop: number) => void}} options  `name` for who does not see it;
 *     `onChoose` when a place is clicked, or Enter pressed on it
 */
export function chart(words, {name, kind, onChoose}) {
    /** @type {Shown | null} */
    let shown = null;
    /** @type {Drawing | null} */
    let drawing = null;
    let stop = -1;

    const caption = h("figcaption");
    const line = s("line", {class: "cursor"});
    const svg = s("svg", {"aria-hidden": "true"});
    const hint = kind === "spark" ? "" : words.say("chart.hint"); // so small a line needs no hint
    const readout = h("p", {class: "readout", "aria-hidden": "true"}, hint);
    const plot = h("div", {
        class: `plot ${kind}`,
        role: "slider",
        tabindex: 0,
        "aria-label": name,
        "aria-roledescription": words.say("chart.role"),
        "aria-valuemin": 0,
        keydown,
        pointermove: (event) => stand(nearest(event)),
        click: (event) => {
            stand(nearest(event));
            if (stop >= 0) onChoose?.(stop);
        },
    });
    plot.append(svg);
    const rows = table(words, name);
    const details = h("details", {toggle: tabulate}, h("summary", {}, words.say("chart.table")), rows.element);
    const element = h("figure", {class: "chart"}, caption, plot, readout, details);
    let width = 0;
    new ResizeObserver(() => {
        if (plot.clientWidth && plot.clientWidth !== width) draw();
    }).observe(plot);

    /** @param {KeyboardEvent} event */
    function keydown(event) {
        const last = (drawing?.stops.length ?? 0) - 1;
        /** @type {Record<string, number>} */
        const to = {
            ArrowLeft: stop - 1,
            ArrowDown: stop - 1,
            ArrowRight: stop + 1,
            ArrowUp: stop + 1,
            PageDown: stop - PAGE,
            PageUp: stop + PAGE,
            Home: 0,
            End: last,
        };
        const next = to[event.key];
        if (event.key === "Enter" && stop >= 0) onChoose?.(stop);
        else if (next === undefined || event.altKey || event.ctrlKey || event.metaKey) return;
        else stand(Math.min(Math.max(next, 0), last));
        event.preventDefault();
    }

    /** @param {MouseEvent} event */
    function nearest(event) {
        const x = event.clientX - svg.getBoundingClientRect().left;
        const distances = (drawing?.stops ?? []).map((at) => Math.abs(at - x));
        return distances.indexOf(Math.min(...distances));
    }

    /** @param {number} at */
    function stand(at) {
        if (!shown || !drawing) return;
        stop = Math.min(at, drawing.stops.length - 1);
        const said = stop < 0 ? words.say("chart.none") : shown.say(stop);
        fill(readout, stop < 0 ? hint : said);
        plot.setAttribute("aria-valuemax", String(Math.max(0, drawing.stops.length - 1)));
        plot.setAttribute("aria-valuenow", String(Math.max(0, stop)));
        plot.setAttribute("aria-valuetext", said);
        const x = drawing.stops[stop] ?? -9;
        for (const [key, value] of Object.entries({x1: x, x2: x, y1: 0, y2: drawing.height})) {
            line.setAttribute(key, String(value));
        }
    }

    function draw() {
        width = plot.clientWidth;
        if (!shown || !width) return;
        drawing = shown.draw(width);
        svg.setAttribute("viewBox", `0 0 ${drawing.width} ${drawing.height}`);
        const marks = drawing.marks.map((mark) => s(mark.tag, {...mark.at, class: mark.class}, mark.text));
        svg.replaceChildren(...marks, line);
        stand(stop);
    }

    function tabulate() {
        if (shown && details.open) rows.show(shown.table.columns, shown.table.rows);
    }

    return {
        element,
        /** @param {Shown} now */
        show(now) {
            shown = now;
            fill(caption, now.sentence);
            if (stop < 0) plot.setAttribute("aria-valuetext", caption.textContent ?? "");
            draw();
            tabulate();
        },
    };
}

/** The pattern for periods that are not over yet, in all charts of a page. */
export function patterns() {
    const line = s("line", {class: "hatch", x1: 1.5, x2: 1.5, y1: 0, y2: 6});
    const at = {width: 6, height: 6, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)"};
    const pattern = s("pattern", {id: "analytics-hatch", ...at}, line);
    return s("svg", {class: "patterns", width: 0, height: 0, "aria-hidden": "true"}, s("defs", {}, pattern));
}
