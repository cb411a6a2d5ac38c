/** The list of courses. */

import {chart} from "../charts/figure.js";
import {spark} from "../charts/spark.js";
import {fill, h, toggle} from "../dom.js";
import {cells, link, skeleton} from "./view.js";

/** @import {Course} from "../api.js" */
/** @import {Surroundings, View} from "./view.js" */
/** @typedef {{courses: Course[], more: boolean}} Data */

const PAGE = 20;
const SPARK_HEIGHT = 44;

/**
 * @param {Surroundings} around
 * @returns {View}
 */
export function coursesView(around) {
    const {words, formats} = around;
    let pages = 1;
    /** @type {Map<string, ReturnType<typeof card>>} */
    const cards = new Map();
    const list = h("ul", {class: "courses"});
    const empty = h("p", {class: "empty", hidden: true}, words.say("courses.empty"));
    const more = h("button", {type: "button", hidden: true, click: next}, words.say("courses.more"));
    const element = h("div", {}, empty, list, more);

    function next() {
        pages++;
        around.go({});
    }

    /** @returns {Promise<Data>} */
    async function load() {
        /** @type {Course[]} */
        const courses = [];
        let token = "";
        for (let page = 0; page < pages; page++) {
            const answer = await around.courses.list(token, PAGE);
            courses.push(...answer.courses);
            token = answer.nextPageToken;
            if (!token) break;
        }
        return {courses, more: Boolean(token)};
    }

    /** @param {Data} data */
    function show(data) {
        toggle(empty, !data.courses.length);
        const order = data.courses.map((course) => {
            const known = cards.get(course.courseId) ?? card();
            cards.set(course.courseId, known);
            known.show(course);
            return known.element;
        });
        if (order.some((each, n) => each !== list.children[n]) || order.length !== list.children.length) {
            list.replaceChildren(...order);
        }
        toggle(more, data.more);
        return {title: words.say("courses.title")};
    }

    function card() {
        const title = h("h2");
        const totals = h("p", {class: "totals"});
        const line = chart(words, {name: words.say("courses.line"), kind: "spark"});
        const none = h("p", {class: "quiet"}, words.say("courses.none"));
        const element = h("li", {class: "card"}, title, totals, line.element, none);
        const cell = cells(formats);

        /** @param {Course} course */
        function show(course) {
            const days = course.last28Days;
            fill(title, link(around, {course: course.courseId, lecture: ""}, course.title || course.courseId));
            fill(totals, totalsOf(course));
            toggle(line.element, days.length > 0);
            toggle(none, !days.length);
            const sum = days.reduce((n, day) => n + day.lectureViews, 0);
            line.show({
                sentence: words.say("courses.sentence", {n: sum, views: formats.number(sum)}),
                draw: (width) => spark(days.map((day) => day.lectureViews), {width, height: SPARK_HEIGHT}),
                say: (stop) => {
                    const {day, lectureViews} = /** @type {Course["last28Days"][number]} */ (days[stop]);
                    const views = formats.number(lectureViews);
                    return words.say("courses.stop", {day: formats.weekday(day), n: lectureViews, views});
                },
                table: {
                    columns: [{name: words.say("column.day")}, {name: words.say("column.lectureViews"), number: true}],
                    rows: days.map((day) => ({key: day.day, cells: [cell.day(day.day), cell.number(day.lectureViews)]})),
                },
            });
        }

        return {element, show};
    }

    /** @param {Course} course */
    const totalsOf = (course) =>
        [
            number("total.views", course.totalViews, formats.number),
            number("total.people", course.uniqueActiveUsers, formats.number),
            number("total.watch", course.totalWatchTimeSeconds, formats.duration),
        ].flatMap((each, n) => (n ? [" · ", ...each] : each));

    /**
     * @param {"total.views" | "total.people" | "total.watch"} key
     * @param {number} value
     * @param {(value: number) => string} form
     */
    const number = (key, value, form) =>
        words.around(key, {value: h("data", {value}, h("b", {}, form(value))), n: value});

    return {
        element,
        skeleton: skeleton("card", "card", "card"),
        load,
        show,
        move: () => true,
    };
}
