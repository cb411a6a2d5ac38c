/** The titles of courses, which only the list of courses contains. */

/** @import {Api} from "./api.js" */

const PAGE = 100;
const MOST_PAGES = 10;

/** @typedef {ReturnType<typeof titles>} Titles */

/**
 * Lists courses, and remembers their titles.
 *
 * @param {Api} service
 */
export function titles(service) {
    /** @type {Map<string, string>} */
    const known = new Map();

    /** @param {string} token  "" for the first page @param {number} size @returns {ReturnType<Api["courses"]>} */
    async function list(token, size) {
        const answer = await service.courses(token, size);
        for (const {courseId, title} of answer.courses) known.set(courseId, title);
        return answer;
    }

    /** A course's title; its id when it has none, or is far down in a long list. @param {string} course */
    async function of(course) {
        let token = "";
        for (let pages = 0; pages < MOST_PAGES && !known.has(course); pages++) {
            token = (await list(token, PAGE)).nextPageToken;
            if (!token) break;
        }
        if (!known.has(course)) known.set(course, "");
        return known.get(course) || course;
    }

    return {list, of, forget: () => known.clear()};
}
