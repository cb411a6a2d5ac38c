/** A lecture: which parts of its video people watch, where they stop, and what they replay. */

import {chart} from "../charts/figure.js";
import {curve, lengthOf, strip} from "../charts/video.js";
import {fill, h, toggle} from "../dom.js";
import {cells, csvButton, skeleton} from "./view.js";

/** @import {Heatmap, Segment, Step} from "../api.js" */
/** @import {Surroundings, View} from "./view.js" */
/** @typedef {{heatmap: Heatmap, step: Step | undefined, course: string}} Data */

const HEIGHT = {curve: 220, strip: 120};

/**
 * @param {Surroundings} around
 * @returns {View}
 */
export function lectureView(around) {
    const {api, words, formats, place} = around;
    /** @type {Heatmap | null} */
    let heatmap = null;
    const address = around.video?.(place.course, place.lecture);
    const video = address ? h("video", {src: address, controls: true, preload: "metadata"}) : null;
    video?.setAttribute("aria-label", words.say("lecture.video"));

    const facts = h("p", {class: "facts"});
    const empty = h("p", {class: "empty", hidden: true}, words.say("lecture.empty"));
    const retention = chart(words, {name: words.say("lecture.curve"), kind: "curve", onChoose: seekSegment});
    const again = chart(words, {name: words.say("lecture.strip"), kind: "strip", onChoose: seekSegment});
    const stretches = h("ol", {class: "stretches"});
    const most = h("div", {}, h("h3", {}, words.say("lecture.most")), stretches);
    const csv = csvButton(around, "csv.segments", () => api.heatmapFile(place.course, place.lecture));
    const charts = h(
        "div",
        {},
        h("h2", {}, words.say("lecture.curve")),
        h("div", {class: video ? "beside" : ""}, retention.element, video),
        h("h2", {}, words.say("lecture.strip")),
        again.element,
        most,
        h("p", {class: "files"}, csv),
    );
    const element = h("div", {}, facts, empty, charts);

    /** @param {number} seconds */
    function seek(seconds) {
        if (video) video.currentTime = seconds;
    }

    /** @param {number} n */
    function seekSegment(n) {
        const segment = heatmap?.segments[n];
        if (segment) seek(segment.startSeconds);
    }

    /** @returns {Promise<Data>} */
    async function load() {
        const [answer, {engagementFunnel}, course] = await Promise.all([
            api.heatmap(place.course, place.lecture),
            api.dashboard(place.course),
            around.courses.of(place.course),
        ]);
        return {heatmap: answer, step: engagementFunnel.find((each) => each.lectureId === place.lecture), course};
    }

    /** @param {Data} data */
    function show(data) {
        heatmap = data.heatmap;
        const watched = heatmap.playbacks > 0 || heatmap.segments.some((segment) => segment.watchedSeconds > 0);
        toggle(empty, !watched);
        toggle(charts, watched);
        fill(facts, factsOf(heatmap, data.step));
        retention.show({
            sentence: curveSentence(heatmap),
            draw: (width) => curve(data.heatmap, {width, height: HEIGHT.curve}, formats),
            say: (stop) => say(/** @type {Segment} */ (data.heatmap.segments[stop])),
            table: rows(heatmap),
        });
        again.show({
            sentence: stripSentence(heatmap),
            draw: (width) => strip(data.heatmap, {width, height: HEIGHT.strip}, formats),
            say: (stop) => sayPasses(/** @type {Segment} */ (data.heatmap.segments[stop])),
            table: rows(heatmap),
        });
        toggle(most, heatmap.mostRewatched.length > 0);
        fillStretches(heatmap);
        return {title: heatmap.title || heatmap.lectureId, course: data.course, asOf: heatmap.asOf};
    }

    /** @param {Heatmap} map @param {Step | undefined} step */
    function factsOf(map, step) {
        const counted = step && {
            n: step.views,
            views: dataOf(step.views, formats.number),
            watch: dataOf(step.watchTimeSeconds, formats.duration),
        };
        const playbacks = {n: map.playbacks, value: dataOf(map.playbacks, formats.number)};
        const length = map.durationSeconds
            ? words.say("lecture.length", {length: formats.position(map.durationSeconds)})
            : words.say("lecture.noLength");
        const since = map.recordedSince ? words.say("recorded.since", {day: formats.day(map.recordedSince)}) : "";
        return [
            counted && words.around("lecture.counted", counted),
            " ",
            words.around("lecture.playbacks", playbacks),
            ` ${length} ${since}`,
        ];
    }

    /** @param {number} value @param {(value: number) => string} form */
    const dataOf = (value, form) => h("data", {value}, h("b", {}, form(value)));

    /** @param {Heatmap} map */
    function curveSentence({segments, largestDrop}) {
        const last = segments.at(-1);
        const end = last ? words.say("lecture.end", {share: formats.share(last.retentionRate)}) : "";
        if (!largestDrop) return `${end} ${words.say("lecture.noDrop")}`;
        const at = formats.position(largestDrop.atSeconds);
        return `${end} ${words.say("lecture.drop", {at, share: formats.share(largestDrop.lostRate)})}`;
    }

    /** @param {Heatmap} map */
    function stripSentence({mostRewatched: [first]}) {
        return first ? stretchSentence(first) : words.say("lecture.nothingAgain");
    }

    /** @param {Heatmap["mostRewatched"][number]} stretch */
    const stretchSentence = ({fromSeconds, toSeconds, passes}) =>
        words.say("lecture.stretch", {
            from: formats.position(fromSeconds),
            to: formats.position(toSeconds),
            times: formats.times(passes),
        });

    /** @param {Heatmap} map */
    function fillStretches({mostRewatched}) {
        fill(
            stretches,
            mostRewatched.map((each) => {
                const views = words.say("lecture.seenBy", {n: each.views, views: formats.number(each.views)});
                const text = `${stretchSentence(each)} ${views}`;
                const from = each.fromSeconds;
                return h("li", {}, video ? h("button", {type: "button", class: "link", "data-seek": from}, text) : text);
            }),
        );
    }
    stretches.addEventListener("click", (event) => {
        const from = /** @type {HTMLElement} */ (event.target).dataset.seek;
        if (from !== undefined) seek(Number(from));
    });

    /** @param {Segment} segment */
    function stretchOf({startSeconds}) {
        const map = /** @type {Heatmap} */ (heatmap);
        const end = Math.min(startSeconds + map.segmentSeconds, Math.max(lengthOf(map), startSeconds + 1));
        return {from: formats.position(startSeconds), to: formats.position(end)};
    }

    /** @param {Segment} segment */
    const say = (segment) =>
        words.say("lecture.stop", {
            ...stretchOf(segment),
            share: formats.share(segment.retentionRate),
            n: segment.views,
            views: formats.number(segment.views),
        });

    /** @param {Segment} segment */
    const sayPasses = (segment) =>
        words.say("lecture.stopAgain", {...stretchOf(segment), times: formats.times(segment.passes)});

    /** @param {Heatmap} map */
    function rows(map) {
        const cell = cells(formats);
        return {
            columns: [
                {name: words.say("column.start")},
                {name: words.say("column.views"), number: true},
                {name: words.say("column.watch"), number: true},
                {name: words.say("column.retention"), number: true},
                {name: words.say("column.passes"), number: true},
            ],
            rows: map.segments.map((segment) => ({
                key: String(segment.startSeconds),
                cells: [
                    cell.position(segment.startSeconds),
                    cell.number(segment.views),
                    cell.duration(segment.watchedSeconds),
                    cell.share(segment.retentionRate),
                    cell.times(segment.passes),
                ],
            })),
        };
    }

    return {element, skeleton: skeleton("line", "plot-bone", "plot-bone"), load, show, move: () => false};
}
