/** The five figures of a course, and how they changed. Pure. */

/** @import {Dashboard, Day, NotCounted, Overview, Reason, Step} from "./api.js" */
/** @import {DayFigure} from "./address.js" */
/** @typedef {DayFigure | "completion"} FigureName */
/** @typedef {Record<FigureName, number | null> & {error: number}} Figures  `error` is the share of people's one */

/** @type {readonly FigureName[]} */
export const FIGURES = ["views", "people", "watch", "average", "completion"];
/** The figures available for each day. @type {readonly DayFigure[]} */
export const DAY_FIGURES = ["views", "people", "watch", "average"];

const HYPERLOGLOG_ERROR = 0.0081;

/**
 * The figures of a range of days. Without starts there is no completion rate.
 *
 * @param {Overview} overview
 * @returns {Figures}
 */
export const ofStretch = (overview) => ({
    views: overview.courseViews,
    people: overview.uniqueUsers,
    watch: overview.watchTimeSeconds,
    average: overview.averageWatchTimeSeconds,
    completion: overview.lectureViews ? 1 - overview.dropOffRate : null,
    error: overview.uniqueUsersStandardError,
});

/**
 * The figures since the beginning.
 *
 * @param {Dashboard} dashboard
 * @returns {Figures}
 */
export const ofAllTime = ({overview, engagementFunnel}) => ({
    views: overview.totalViews,
    people: overview.uniqueActiveUsers,
    watch: overview.totalWatchTimeSeconds,
    average: overview.averageWatchTimeSeconds,
    completion: engagementFunnel.some((step) => step.views) ? 1 - overview.dropOffRate : null,
    error: HYPERLOGLOG_ERROR,
});

/**
 * A day's figure.
 *
 * @param {Day} day
 * @param {DayFigure} figure
 */
export function ofDay(day, figure) {
    const average = day.uniqueUsers ? day.watchTimeSeconds / day.uniqueUsers : 0;
    return {views: day.courseViews, people: day.uniqueUsers, watch: day.watchTimeSeconds, average}[figure];
}

/**
 * @typedef {{kind: "unknown" | "new" | "equal" | "about"} | {kind: "share" | "points", by: number}} Change
 * `by` is a share of the earlier value, or a difference of two rates; positive when it grew.
 */

/**
 * How a figure changed. People are an estimate, and so is the average per person: a change within the standard error
 * of the difference is not significant.
 *
 * @param {FigureName} name
 * @param {Figures} now
 * @param {Figures | null} before
 * @returns {Change}
 */
export function change(name, now, before) {
    const [new_, old] = [now[name], before?.[name] ?? null];
    if (new_ === null || old === null || !before) return {kind: "unknown"};
    if (new_ === old) return {kind: "equal"};
    if (name === "completion") return {kind: "points", by: new_ - old};
    if (old === 0) return {kind: "new"};
    const estimated = name === "people" || name === "average";
    const error = Math.hypot(new_ * now.error, old * before.error);
    if (estimated && Math.abs(new_ - old) <= error) return {kind: "about"};
    return {kind: "share", by: new_ / old - 1};
}

/**
 * The step that loses the most views compared with the previous lecture; null when no step loses any.
 *
 * @param {Step[]} funnel
 */
export function largestDrop(funnel) {
    let found = null;
    for (let n = 1; n < funnel.length; n++) {
        const [before, step] = [/** @type {Step} */ (funnel[n - 1]), /** @type {Step} */ (funnel[n])];
        const lost = before.views - step.views;
        if (lost > (found?.lost ?? 0)) found = {step, before, lost, index: n};
    }
    return found;
}

/**
 * The events that were not counted, without repeated ones, which are already counted; and the total number of events, as
 * far as the service knows it: a counted view is one event, a ping that added watch time to it is none.
 *
 * @param {NotCounted[]} reasons
 * @param {{courseViews: number, lectureViews: number}} counted
 */
export function notCounted(reasons, counted) {
    /** @param {(reason: Reason) => boolean} which */
    const sum = (which) => reasons.filter((each) => which(each.reason)).reduce((n, each) => n + each.events, 0);
    const lost = sum((reason) => reason !== "REPEATED");
    const repeated = sum((reason) => reason === "REPEATED");
    return {lost, repeated, events: lost + repeated + counted.courseViews + counted.lectureViews};
}
