/** The service's responses, and what its errors mean to the page. */

/**
 * @typedef {{lectureId: string, title: string, views: number, watchTimeSeconds: number, retentionRate: number,
 *     dropOffRate: number}} Step
 * @typedef {{overview: {totalViews: number, uniqueActiveUsers: number, totalWatchTimeSeconds: number,
 *     averageWatchTimeSeconds: number, dropOffRate: number, asOf: string}, engagementFunnel: Step[]}} Dashboard
 * @typedef {{courseId: string, title: string, totalViews: number, uniqueActiveUsers: number,
 *     totalWatchTimeSeconds: number, last28Days: {day: string, lectureViews: number}[]}} Course
 * @typedef {{courseViews: number, uniqueUsers: number, uniqueUsersStandardError: number, watchTimeSeconds: number,
 *     averageWatchTimeSeconds: number, lectureViews: number, dropOffRate: number}} Overview
 * @typedef {{day: string, courseViews: number, uniqueUsers: number, watchTimeSeconds: number,
 *     lectureViews: number}} Day
 * @typedef {"REPEATED" | "IMPLAUSIBLE" | "INVALID_FIELDS" | "UNKNOWN_LECTURE" | "USER_LIMIT" | "OVERLOADED"} Reason
 * @typedef {{reason: Reason, events: number, seconds: number}} NotCounted
 * @typedef {{range: {fromDay: string, toDay: string, days: number, dayZone: string, recordedSince: string,
 *     final: boolean}, overview: Overview, previous?: Overview, days: Day[], today: Day & {notCounted: NotCounted[]},
 *     engagementFunnel: Step[], notCounted: NotCounted[], asOf: string}} Report
 * @typedef {{startSeconds: number, views: number, watchedSeconds: number, retentionRate: number,
 *     passes: number}} Segment
 * @typedef {{lectureId: string, title: string, segmentSeconds: number, durationSeconds?: number, playbacks: number,
 *     segments: Segment[], mostRewatched: {fromSeconds: number, toSeconds: number, passes: number, views: number}[],
 *     largestDrop?: {atSeconds: number, lostRate: number}, recordedSince: string, asOf: string}} Heatmap
 * @typedef {{blob: Blob, name: string}} File
 */

/** A token, or a function that returns one. @typedef {string | (() => string | Promise<string>)} Token */

/**
 * Why there is no response: not signed in (any more), somebody else's course, no such course or lecture, an invalid
 * request, or an unavailable service.
 *
 * @typedef {"session" | "foreign" | "missing" | "invalid" | "away"} Problem
 */

const PATIENCE_MS = 15_000;

/** @type {Record<number, Problem>} */
const PROBLEMS = {400: "invalid", 401: "session", 403: "foreign", 404: "missing"};

/** An error response, or no response at all. */
export class Refused extends Error {
    /**
     * @param {Problem} problem
     * @param {string} message  the service's message
     */
    constructor(problem, message) {
        super(message);
        this.problem = problem;
    }
}

/** @typedef {ReturnType<typeof api>} Api */

/**
 * Requests to the service. Each rejects with `Refused`.
 *
 * @param {{endpoint: string, token?: Token}} site  the endpoint is "https://analytics.example/api/v1/analytics"; without
 *     a token it is in a cookie of the site
 */
export function api({endpoint, token}) {
    const root = `${endpoint.replace(/\/+$/, "")}/instructor`;

    /** @param {string} path @param {Record<string, string>} query */
    async function ask(path, query) {
        const search = new URLSearchParams(query);
        const url = `${root}${path}${search.size ? `?${search}` : ""}`;
        let response = await send(url, await proof());
        // The site may have a newer token.
        if (response.status === 401 && typeof token === "function") response = await send(url, await proof());
        if (response.ok) return response;
        const told = await response.json().catch(() => ({}));
        throw new Refused(PROBLEMS[response.status] ?? "away", told.message ?? "");
    }

    /** @returns {Promise<Record<string, string>>} the headers that authenticate the caller */
    async function proof() {
        if (token === undefined) return {"x-requested-with": "fetch"};
        const value = typeof token === "function" ? await Promise.resolve(token()).catch(() => "") : token;
        if (!value) throw new Refused("session", "");
        return {authorization: `Bearer ${value}`};
    }

    /** @param {string} path @param {Record<string, string>} [query] */
    async function json(path, query = {}) {
        const response = await ask(path, query);
        return response.json().catch(unreadable);
    }

    /** @param {string} path @param {Record<string, string>} query @returns {Promise<File>} */
    async function file(path, query) {
        const response = await ask(path, query);
        const [, name] = /filename="([^"]+)"/.exec(response.headers.get("content-disposition") ?? "") ?? [];
        return {blob: await response.blob().catch(unreadable), name: name ?? "analytics.csv"};
    }

    return {
        /**
         * @param {string} pageToken  "" for the first page
         * @param {number} pageSize
         * @returns {Promise<{courses: Course[], nextPageToken: string}>}
         */
        courses: (pageToken, pageSize) => json("", {pageSize: String(pageSize), ...(pageToken && {pageToken})}),
        /** @param {string} course @returns {Promise<Dashboard>} */
        dashboard: (course) => json(`/${course}`),
        /** @param {string} course @param {Record<string, string>} range @returns {Promise<Report>} */
        report: (course, range) => json(`/${course}/report`, range),
        /** @param {string} course @param {string} lecture @returns {Promise<Heatmap>} */
        heatmap: (course, lecture) => json(`/${course}/lectures/${lecture}/heatmap`),
        /** @param {string} course @param {Record<string, string>} query  range and table */
        reportFile: (course, query) => file(`/${course}/report.csv`, query),
        /** @param {string} course @param {string} lecture */
        heatmapFile: (course, lecture) => file(`/${course}/lectures/${lecture}/heatmap.csv`, {}),
    };
}

/** @param {string} url @param {Record<string, string>} headers */
async function send(url, headers) {
    const signal = AbortSignal.timeout(PATIENCE_MS);
    const credentials = headers.authorization ? "omit" : "include";
    try {
        return await fetch(url, {headers, signal, cache: "no-store", credentials, referrerPolicy: "no-referrer"});
    } catch {
        throw new Refused("away", "");
    }
}

/** @returns {never} */
function unreadable() {
    throw new Refused("away", "");
}
