/** Bars of a chart: days with the range before and today, or the lectures of a funnel. Pure. */

import {grid, GUTTER, legend, path, tenth, top} from "./scale.js";

/** @import {Drawing, Mark} from "./scale.js" */

/**
 * One place on the axis. `value` is null where nothing is recorded, `before` where there is nothing to compare;
 * `kind` is a class of the bar; a last one that is "today" is set apart.
 *
 * @typedef {{value: number | null, before?: number | null, kind?: string}} Slot
 */

/**
 * One bar per slot, and a dashed line through the previous values.
 *
 * @param {Slot[]} slots
 * @param {{width: number, height: number}} size  in pixels
 * @param {{axis: (value: number) => string, slot: (n: number) => string, room?: number}} say  the axis' numbers, and the
 *     word below a slot
 * @returns {Drawing}
 */
export function bars(slots, size, say) {
    const {width, height} = size;
    const most = top(Math.max(0, ...slots.flatMap((slot) => [slot.value ?? 0, slot.before ?? 0])));
    const [bottom, across] = [height - GUTTER.bottom, width - GUTTER.left - GUTTER.right];
    const apart = slots.at(-1)?.kind === "today" ? 0.5 : 0;
    const each = across / Math.max(1, slots.length + apart);
    const left = (/** @type {number} */ n) => GUTTER.left + (apart && n === slots.length - 1 ? n + apart : n) * each;
    const gap = each > 4 ? each * 0.2 : 0;
    const y = (/** @type {number} */ value) => bottom - (value / most) * (bottom - GUTTER.top);
    const stops = slots.map((_, n) => tenth(left(n) + each / 2));
    const before = slots.map((slot, n) =>
        slot.before == null ? null : {x: /** @type {number} */ (stops[n]), y: y(slot.before)},
    );
    const lines = Number.isInteger(most / 2) ? [most / 2, most] : [most]; // views are whole numbers
    /** @type {Mark[]} */
    const marks = grid(size, lines, y, say.axis);
    slots.forEach(({value, kind}, n) => {
        if (value === null) return;
        const at = {
            x: tenth(left(n) + gap / 2),
            y: tenth(y(value)),
            width: tenth(Math.max(0.5, each - gap)),
            height: tenth(bottom - y(value)),
        };
        marks.push({tag: "rect", class: kind ? `bar ${kind}` : "bar", at});
    });
    if (before.some(Boolean)) marks.push({tag: "path", class: "before", at: {d: path(before)}});
    marks.push(...legend(size, stops, say.slot, say.room ?? 64));
    return {width, height, marks, stops};
}
