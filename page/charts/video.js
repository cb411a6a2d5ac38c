/** Two charts over the time of a video: who still watches, and what was replayed. Pure. */

import {grid, GUTTER, path, tenth, top} from "./scale.js";

/** @import {Segment} from "../api.js" */
/** @import {Drawing, Mark} from "./scale.js" */

/**
 * Where a moment of the video is in the box.
 *
 * @param {number} length  of the video, in seconds
 * @param {number} width
 */
const across = (length, width) => (/** @type {number} */ seconds) =>
    GUTTER.left + (Math.min(seconds, length) / length) * (width - GUTTER.left - GUTTER.right);

/**
 * The video's length: as players report it, or to the end of the last segment.
 *
 * @param {{durationSeconds?: number, segmentSeconds: number, segments: Segment[]}} heatmap
 */
export const lengthOf = ({durationSeconds, segmentSeconds, segments}) =>
    Math.max(durationSeconds || segments.length * segmentSeconds, 1);

/**
 * One step per segment, as high as the share of playbacks that saw it; a line marks the largest drop.
 *
 * @param {import("../api.js").Heatmap} heatmap
 * @param {{width: number, height: number}} size
 * @param {{share: (value: number) => string, position: (seconds: number) => string}} say
 * @returns {Drawing}
 */
export function curve(heatmap, size, say) {
    const {segments, segmentSeconds, largestDrop} = heatmap;
    const {width, height} = size;
    const length = lengthOf(heatmap);
    const [x, bottom] = [across(length, width), height - GUTTER.bottom];
    const y = (/** @type {number} */ rate) => bottom - rate * (bottom - GUTTER.top);
    const steps = segments.flatMap(({startSeconds, retentionRate}) => [
        {x: x(startSeconds), y: y(retentionRate)},
        {x: x(startSeconds + segmentSeconds), y: y(retentionRate)},
    ]);
    /** @type {Mark[]} */
    const marks = grid(size, [0.5, 1], y, say.share);
    if (steps.length) {
        const ground = [{x: /** @type {any} */ (steps.at(-1)).x, y: bottom}, {x: x(0), y: bottom}];
        marks.push({tag: "path", class: "area", at: {d: `${path([...steps, ...ground])}Z`}});
        marks.push({tag: "path", class: "curve", at: {d: path(steps)}});
    }
    if (largestDrop) {
        const at = tenth(x(largestDrop.atSeconds));
        marks.push({tag: "line", class: "drop", at: {x1: at, x2: at, y1: GUTTER.top, y2: bottom}});
    }
    marks.push(...clock(length, size, x, say.position));
    return {width, height, marks, stops: middles(segments, segmentSeconds, x)};
}

/**
 * One bar per segment, as high as the number of times its viewers played it. A line marks one time.
 *
 * @param {import("../api.js").Heatmap} heatmap
 * @param {{width: number, height: number}} size
 * @param {{times: (value: number) => string, position: (seconds: number) => string}} say
 * @returns {Drawing}
 */
export function strip(heatmap, size, say) {
    const {segments, segmentSeconds, mostRewatched} = heatmap;
    const {width, height} = size;
    const length = lengthOf(heatmap);
    const [x, bottom] = [across(length, width), height - GUTTER.bottom];
    const most = Math.max(2, top(Math.max(0, ...segments.map((segment) => segment.passes))));
    const y = (/** @type {number} */ passes) => bottom - (passes / most) * (bottom - GUTTER.top);
    /** @type {Mark[]} */
    const marks = grid(size, [1, most], y, say.times);
    for (const {startSeconds, passes} of segments) {
        const again = mostRewatched.some((each) => each.fromSeconds <= startSeconds && startSeconds < each.toSeconds);
        const [left, right] = [x(startSeconds), x(startSeconds + segmentSeconds)];
        const at = {x: tenth(left), y: tenth(y(passes)), width: tenth(right - left), height: tenth(bottom - y(passes))};
        marks.push({tag: "rect", class: again ? "bar again" : "bar", at});
    }
    marks.push(...clock(length, size, x, say.position));
    return {width, height, marks, stops: middles(segments, segmentSeconds, x)};
}

/** @param {Segment[]} segments @param {number} seconds @param {(seconds: number) => number} x */
const middles = (segments, seconds, x) =>
    segments.map(({startSeconds}) => tenth((x(startSeconds) + x(startSeconds + seconds)) / 2));

/**
 * Times below, in natural steps.
 *
 * @param {number} length
 * @param {{width: number, height: number}} size
 * @param {(seconds: number) => number} x
 * @param {(seconds: number) => string} say
 * @returns {Mark[]}
 */
function clock(length, {width, height}, x, say) {
    const many = Math.max(1, Math.floor(width / 90));
    const step = [10, 30, 60, 120, 300, 600, 1800, 3600, 7200].find((each) => length / each <= many) ?? 14_400;
    const times = Array.from({length: Math.floor(length / step) + 1}, (_, n) => n * step);
    return times
        .filter((time) => x(time) < width - 24)
        .map((time) => ({
            tag: "text",
            class: "word",
            at: {x: tenth(x(time)), y: height - 6, "text-anchor": "middle"},
            text: say(time),
        }));
}
