/** A course: its figures in a range of days, its days, its lectures, and events that were not counted. */

import {shift} from "../days.js";
import {fill, h, toggle} from "../dom.js";
import {ofAllTime, ofStretch} from "../figures.js";
import {daysChart} from "./days.js";
import {lectures} from "./lectures.js";
import {lost} from "./lost.js";
import {rangeChoice} from "./range.js";
import {tiles} from "./tiles.js";
import {csvButton, link, skeleton} from "./view.js";

/** @import {Dashboard, Day, Report} from "../api.js" */
/** @import {Place} from "../address.js" */
/** @import {Key} from "../words.js" */
/** @import {Surroundings, View} from "./view.js" */

/**
 * `earlier` are the days of the range before; `today` and `dashboard` are newer than `report`.
 *
 * @typedef {object} Data
 * @property {string} title
 * @property {string} question  for what it is the answer
 * @property {Dashboard} dashboard
 * @property {Report} report
 * @property {Day[]} earlier
 * @property {Report["today"]} today
 * @property {string} asOf
 */

const PERIODS = new Map([["7", "LAST_7_DAYS"], ["28", "LAST_28_DAYS"], ["90", "LAST_90_DAYS"]]);
const MOST_DAYS = 366;
const MOST_DAYS_OF_A_FUNNEL = 92;

/**
 * The request for a range. "all" requests the days that are available for it: those of the last year.
 *
 * @param {string} range
 * @param {Report | null} recent  a report that tells today and the first day; for "all"
 * @returns {Record<string, string>}
 */
export function questionOf(range, recent) {
    const period = PERIODS.get(range);
    if (period) return {period};
    if (range !== "all") {
        const [fromDay = "", toDay = ""] = range.split("..");
        return {fromDay, toDay};
    }
    const since = recent?.range.recordedSince ?? "";
    if (!recent || !since || since >= recent.today.day) return {period: "LAST_7_DAYS"};
    const [toDay, first] = [shift(recent.today.day, -1), shift(recent.today.day, -MOST_DAYS)];
    return {fromDay: since > first ? since : first, toDay};
}

/**
 * @param {Surroundings} around
 * @returns {View}
 */
export function courseView(around) {
    const {api, words, formats} = around;
    const course = around.place.course;
    let place = around.place;
    /** @type {Data | null} */
    let data = null;

    const choice = rangeChoice(around);
    const days = h("p", {class: "days"});
    const now = h("p", {class: "now"});
    const empty = h("p", {class: "empty"});
    const five = tiles(around);
    const chart = daysChart(around);
    const funnel = lectures(around);
    const noFunnel = h("p", {class: "empty"}, words.say("funnel.long", {days: MOST_DAYS_OF_A_FUNNEL}));
    const files = [file("csv.days", "days"), file("csv.funnel", "funnel"), file("csv.notCounted", "notCounted")];
    const missing = lost(around);
    const full = h("div", {}, five.element, h("h2", {}, words.say("days.name")), chart.element, funnel.element, noFunnel);
    const element = h("div", {}, choice.element, days, now, empty, full, h("p", {class: "files"}, files), missing.element);
    moved();

    /** @param {Key} name @param {string} which */
    function file(name, which) {
        return csvButton(around, name, () =>
            api.reportFile(course, {...questionOf(place.range, data?.report ?? null), table: which}),
        );
    }

    /** @param {boolean} whole @returns {Promise<Data>} */
    async function load(whole) {
        const question = `${place.range} ${place.compare}`;
        if (data?.question === question && !whole) {
            const [dashboard, recent] = await Promise.all([api.dashboard(course), api.report(course, questionOf("7", null))]);
            const {today, asOf} = recent;
            if (today.day === data.today.day) return {...data, dashboard, today, asOf};
        }
        const {range, compare} = place;
        const [title, dashboard, report] = await Promise.all([
            around.courses.of(course),
            api.dashboard(course),
            reportOf(range),
        ]);
        const earlier = compare && range !== "all" && report.previous ? await daysBefore(report) : [];
        return {title, question, dashboard, report, earlier, today: report.today, asOf: report.asOf};
    }

    /** @param {string} range */
    async function reportOf(range) {
        const recent = range === "all" ? await api.report(course, questionOf("7", null)) : null;
        return api.report(course, questionOf(range, recent));
    }

    /** @param {Report} report */
    async function daysBefore({range}) {
        const [fromDay, toDay] = [shift(range.fromDay, -range.days), shift(range.fromDay, -1)];
        return (await api.report(course, {fromDay, toDay})).days;
    }

    /** @param {Data} answer */
    function show(answer) {
        data = answer;
        const {dashboard, report, earlier, today} = answer;
        const all = place.range === "all";
        const compared = place.compare && !all;
        choice.until(today.day);
        fill(days, rangeSentence(report, all));
        fill(now, nowSentence(dashboard, today));
        const figures = all ? ofAllTime(dashboard) : ofStretch(report.overview);
        const watched = Boolean(figures.views || figures.watch || report.overview.lectureViews);
        toggle(empty, !watched);
        toggle(full, watched);
        const {overview} = dashboard;
        const ever = !all && Boolean(overview.totalViews || overview.totalWatchTimeSeconds);
        fill(empty, emptySentence(report), ever && [" ", link(around, {range: "all"}, words.say("empty.all"))]);
        const before = compared && report.previous ? ofStretch(report.previous) : null;
        five.show(figures, before, compared ? report.range.days : 0);
        chart.show(report, compared ? earlier : [], today, place.figure);
        const steps = all ? dashboard.engagementFunnel : report.engagementFunnel;
        const long = !all && report.range.days > MOST_DAYS_OF_A_FUNNEL;
        toggle(funnel.element, !long);
        toggle(noFunnel, long);
        funnel.show(steps, place);
        // There is no file for the funnel of all time, or of a long range.
        toggle(/** @type {HTMLElement} */ (files[1]), !all && !long);
        missing.show(report.notCounted, report.overview);
        return {title: answer.title, asOf: answer.asOf, zone: report.range.dayZone};
    }

    /** @param {Report} report @param {boolean} all */
    function rangeSentence({range, asOf}, all) {
        const {fromDay, toDay, dayZone, recordedSince} = range;
        const values = {from: formats.day(fromDay), to: formats.day(toDay), n: range.days, days: range.days};
        return [
            words.say(all ? "days.all" : "days.range", values),
            words.say("days.zone", {zone: formats.zone(dayZone)}),
            recordedSince && words.say("recorded.since", {day: formats.day(recordedSince)}),
            range.final ? words.say("days.final") : words.say("days.asOf", {time: formats.time(asOf, dayZone)}),
        ]
            .filter(Boolean)
            .join(" ");
    }

    /** @param {Dashboard} dashboard @param {Report["today"]} today */
    function nowSentence({overview}, today) {
        return [
            h("span", {class: "live"}, words.say("now.live")),
            " ",
            words.say("now.today", {
                views: formats.number(today.courseViews),
                people: formats.number(today.uniqueUsers),
                watch: formats.duration(today.watchTimeSeconds),
            }),
            " ",
            words.say("now.ever", {
                views: formats.number(overview.totalViews),
                people: formats.number(overview.uniqueActiveUsers),
                watch: formats.duration(overview.totalWatchTimeSeconds),
            }),
        ];
    }

    /** @param {Report} report */
    function emptySentence({range}) {
        if (!range.recordedSince) return words.say("empty.ever");
        return words.say("empty.days", {since: formats.day(range.recordedSince)});
    }

    function moved() {
        choice.move(place);
        five.move(place);
    }

    /** @param {Place} to */
    function move(to) {
        const from = place;
        place = to;
        moved();
        const loads = from.range !== to.range || (to.compare && !from.compare);
        if (data && !loads) show(data);
        return loads;
    }

    return {element, skeleton: skeleton("bar", "line", "line", "tiles-bone", "plot-bone", "plot-bone"), load, show, move};
}
