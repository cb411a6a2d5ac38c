/** What the views have in common. */

import {h} from "../dom.js";
import {searchOf} from "../address.js";

/** @import {Api, File} from "../api.js" */
/** @import {Place} from "../address.js" */
/** @import {Titles} from "../titles.js" */
/** @import {Formats} from "../format.js" */
/** @import {Key, Words} from "../words.js" */
/** @import {Child} from "../dom.js" */

/**
 * What a view receives.
 *
 * @typedef {object} Surroundings
 * @property {Api} api
 * @property {Titles} courses
 * @property {Words} words
 * @property {Formats} formats
 * @property {Place} place  where the page is now
 * @property {(change: Partial<Place>) => void} go  to another place
 * @property {(question: () => Promise<File>) => void} download
 * @property {((course: string, lecture: string) => string | undefined) | undefined} video  a lecture's, where the site has it
 */

/**
 * A view of one course, one lecture, or the list. `load` everything, or only the live data.
 *
 * @typedef {object} View
 * @property {HTMLElement} element  without numbers until the first `show`
 * @property {HTMLElement} skeleton  is shown in its place until then
 * @property {(whole: boolean) => Promise<any>} load
 * @property {(data: any) => Heading} show
 * @property {(place: Place) => boolean} move  to another place of the same course or lecture; true when it has to be loaded
 */

/** The heading above a view. @typedef {{title: string, course?: string, asOf?: string, zone?: string}} Heading */

/**
 * A link to another place.
 *
 * @param {Surroundings} around
 * @param {Partial<Place>} change
 * @param {...Child} children
 */
export function link({place}, change, ...children) {
    const to = JSON.stringify(change);
    return h("a", {href: searchOf({...place, ...change}, location.search) || "?", "data-to": to}, ...children);
}

/**
 * Grey blocks as high as the content that will replace them.
 *
 * @param {...string} kinds
 */
export function skeleton(...kinds) {
    const blocks = kinds.map((kind) => h("div", {class: `bone ${kind}`}));
    return h("div", {class: "skeleton", "aria-hidden": "true"}, ...blocks);
}

/**
 * A button that downloads a CSV file.
 *
 * @param {Surroundings} around
 * @param {Key} name
 * @param {() => Promise<File>} question
 */
export const csvButton = ({words, download}, name, question) =>
    h("button", {type: "button", class: "csv", click: () => download(question)}, words.say(name));

/** @typedef {import("../table.js").Cell} Cell */

/**
 * Cells of numbers, each with its raw number.
 *
 * @param {Formats} formats
 */
export const cells = (formats) => ({
    /** @param {number} value @returns {Cell} */
    number: (value) => ({text: formats.number(value), value}),
    /** @param {number} value @returns {Cell} */
    duration: (value) => ({text: formats.duration(value), value}),
    /** @param {number} value @returns {Cell} */
    share: (value) => ({text: formats.share(value), value}),
    /** @param {number} value @returns {Cell} */
    times: (value) => ({text: formats.times(value), value}),
    /** @param {string} day @returns {Cell} */
    day: (day) => ({text: formats.day(day), value: day}),
    /** @param {number} seconds @returns {Cell} */
    position: (seconds) => ({text: formats.position(seconds), value: seconds}),
});
