/** The page's state as part of its address. Never contains the token. Pure. */

/** @typedef {"views" | "people" | "watch" | "average"} DayFigure */
/** @typedef {"order" | "views" | "watch" | "retention" | "dropOff"} SortKey */

/**
 * @typedef {object} Place
 * @property {string} course  an id, or "" for the list of courses
 * @property {string} lecture  an id, or "" for the whole course
 * @property {string} range  "7", "28", "90" (days that end yesterday), "all", or "2026-11-01..2026-11-25"
 * @property {boolean} compare  with the equally long range before
 * @property {DayFigure} figure  which one the day chart shows
 * @property {SortKey} sort  the column by which the lectures are sorted
 * @property {boolean} down  in descending order
 * @property {string} language  "en", "de", or "" for the browser's
 */

const ID = /^[0-9a-f]{24}$/;
const RANGE = /^(7|28|90|all|\d{4}-\d\d-\d\d\.\.\d{4}-\d\d-\d\d)$/;
const LANGUAGE = /^(en|de)$/;
const FIGURE = /^(views|people|watch|average)$/;
const SORT = /^(order|views|watch|retention|dropOff)$/;

/** @type {Readonly<Place>} */
export const START = Object.freeze({
    course: "",
    lecture: "",
    range: "28",
    compare: true,
    figure: "views",
    sort: "order",
    down: false,
    language: "",
});

/**
 * The place that an address's query names. Missing or malformed parts get their default values.
 *
 * @param {string} search
 * @returns {Place}
 */
export function placeOf(search) {
    const query = new URLSearchParams(search);
    /** @param {string} name @param {RegExp} form @param {string} otherwise */
    const one = (name, form, otherwise) => {
        const value = query.get(name) ?? "";
        return form.test(value) ? value : otherwise;
    };
    const course = one("course", ID, START.course);
    const sort = one("sort", /^-?[a-zA-Z]+$/, START.sort);
    return {
        course,
        lecture: course && one("lecture", ID, START.lecture),
        range: one("range", RANGE, START.range),
        compare: query.get("compare") !== "off",
        figure: /** @type {DayFigure} */ (one("figure", FIGURE, START.figure)),
        sort: /** @type {SortKey} */ (SORT.test(sort.replace("-", "")) ? sort.replace("-", "") : START.sort),
        down: SORT.test(sort.replace("-", "")) && sort.startsWith("-"),
        language: one("lang", LANGUAGE, START.language),
    };
}

/**
 * The query of a place: only the values that differ from the defaults, plus the site's own query parameters.
 *
 * @param {Place} place
 * @param {string} [search]  the current query
 * @returns {string}  "" or "?…"
 */
export function searchOf(place, search = "") {
    const query = new URLSearchParams(search);
    /** @param {string} name @param {string} value */
    const put = (name, value) => (value ? query.set(name, value) : query.delete(name));
    put("course", place.course);
    put("lecture", place.course && place.lecture);
    put("range", place.range === START.range ? "" : place.range);
    put("compare", place.compare ? "" : "off");
    put("figure", place.figure === START.figure ? "" : place.figure);
    put("sort", place.sort === START.sort && !place.down ? "" : (place.down ? "-" : "") + place.sort);
    put("lang", place.language);
    return query.size ? `?${query}` : "";
}
