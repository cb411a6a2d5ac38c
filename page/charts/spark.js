/** A small line without axes. Pure. */

import {path, tenth} from "./scale.js";

/** @import {Drawing} from "./scale.js" */

const EDGE = 3;

/**
 * A line through these values, and a dot at the last.
 *
 * @param {number[]} values
 * @param {{width: number, height: number}} size
 * @returns {Drawing}
 */
export function spark(values, {width, height}) {
    const most = Math.max(1, ...values);
    const points = values.map((value, n) => ({
        x: EDGE + ((width - 2 * EDGE) * (n + 0.5)) / values.length,
        y: height - EDGE - (value / most) * (height - 2 * EDGE),
    }));
    const last = points.at(-1);
    /** @type {import("./scale.js").Mark[]} */
    const marks = last
        ? [
              {tag: "path", class: "curve", at: {d: path(points)}},
              {tag: "rect", class: "dot", at: {x: tenth(last.x - 2), y: tenth(last.y - 2), width: 4, height: 4}},
          ]
        : [];
    return {width, height, marks, stops: points.map((point) => tenth(point.x))};
}
