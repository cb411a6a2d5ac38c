/** Shared by all drawings. Pure. */

/**
 * A mark of a drawing: an SVG element by name, with attributes and, for a `text`, its text.
 *
 * @typedef {{tag: "rect" | "path" | "line" | "text", class: string, at: Record<string, string | number>,
 *     text?: string}} Mark
 */

/**
 * Marks in a box of this size (in pixels), and where a cursor may stand in it, from left to right.
 *
 * @typedef {{width: number, height: number, marks: Mark[], stops: number[]}} Drawing
 */

/** Room for the numbers of the axis and for the words below. */
export const GUTTER = {left: 52, right: 8, top: 10, bottom: 22};

/**
 * The next larger or equal round number with at most two significant digits: the top of an axis.
 *
 * @param {number} value
 */
export function top(value) {
    if (!(value > 0)) return 1;
    const unit = 10 ** Math.floor(Math.log10(value));
    const step = [1, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].find((each) => each * unit >= value * (1 - 1e-9)) ?? 10;
    return step * unit;
}

/**
 * A position rounded to a tenth of a pixel.
 *
 * @param {number} value
 */
export const tenth = (value) => Math.round(value * 10) / 10;

/**
 * A path through these points, with a gap where one is null.
 *
 * @param {({x: number, y: number} | null)[]} points
 */
export function path(points) {
    let drawn = "";
    points.forEach((point, n) => {
        if (point) drawn += `${n && points[n - 1] ? "L" : "M"}${tenth(point.x)} ${tenth(point.y)}`;
    });
    return drawn;
}

/**
 * Horizontal lines at these values, each with its number, and the line at the bottom.
 *
 * @param {{width: number, height: number}} size
 * @param {number[]} values
 * @param {(value: number) => number} y
 * @param {(value: number) => string} say
 * @returns {Mark[]}
 */
export function grid({width, height}, values, y, say) {
    const line = (/** @type {number} */ at, /** @type {string} */ name) => ({
        tag: /** @type {const} */ ("line"),
        class: name,
        at: {x1: GUTTER.left, x2: width - GUTTER.right, y1: tenth(at), y2: tenth(at)},
    });
    return [
        ...values.map((value) => line(y(value), "grid")),
        line(height - GUTTER.bottom, "axis"),
        ...values.map((value) => ({
            tag: /** @type {const} */ ("text"),
            class: "number",
            at: {x: GUTTER.left - 6, y: tenth(y(value) + 4), "text-anchor": "end"},
            text: say(value),
        })),
    ];
}

/**
 * Labels below, as many as fit, in even steps from the first on.
 *
 * @param {{width: number, height: number}} size
 * @param {number[]} stops
 * @param {(stop: number) => string} say
 * @param {number} room  for one, in pixels
 * @returns {Mark[]}
 */
export function legend({width, height}, stops, say, room) {
    const many = Math.max(1, Math.floor((width - GUTTER.left - GUTTER.right) / room));
    const step = Math.max(1, Math.ceil(stops.length / many));
    return stops.flatMap((x, n) =>
        n % step || x + room / 2 > width + GUTTER.right
            ? []
            : [{tag: "text", class: "word", at: {x: tenth(x), y: height - 6, "text-anchor": "middle"}, text: say(n)}],
    );
}
