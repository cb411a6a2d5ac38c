import assert from "node:assert/strict";
import {test} from "node:test";

import {bars} from "../../page/charts/bars.js";
import {path, top} from "../../page/charts/scale.js";
import {spark} from "../../page/charts/spark.js";
import {curve, lengthOf, strip} from "../../page/charts/video.js";
import {sorted} from "../../page/views/lectures.js";
import {slotsOf} from "../../page/views/days.js";

const SIZE = {width: 660, height: 232}; // 600 × 200 between the gutters
const SAY = {axis: String, slot: String, share: String, times: String, position: String};

const rects = (drawing) => drawing.marks.filter((mark) => mark.tag === "rect");
const one = (drawing, name) => drawing.marks.filter((mark) => mark.class === name);

test("the top of an axis is round and not less", () => {
    for (const value of [0.3, 1, 1.1, 7, 10, 99, 1234, 56789]) assert.ok(top(value) >= value && top(value) < 2.1 * value);
    assert.equal(1, top(0));
});

test("a bar is as high as its value", () => {
    const [half, whole] = rects(bars([{value: 50}, {value: 100}], SIZE, SAY));
    assert.deepEqual([100, 200], [half.at.height, whole.at.height]);
    assert.equal(110, half.at.y);
});

test("what is not recorded has no bar, and zero has one without height", () => {
    assert.deepEqual([0], rects(bars([{value: null}, {value: 0}], SIZE, SAY)).map((bar) => bar.at.height));
});

test("today stands apart and is of its own kind", () => {
    const drawing = bars([{value: 1}, {value: 1}, {value: 1, kind: "today"}], SIZE, SAY);
    const [a, b, today] = rects(drawing).map((bar) => bar.at.x);
    assert.ok(today - b > 1.4 * (b - a));
    assert.equal(1, one(drawing, "bar today").length);
    assert.equal(3, drawing.stops.length);
});

test("the line before has a gap where there was nothing", () => {
    const slots = [1, 2, null, 4].map((before) => ({value: 1, before}));
    const [line] = one(bars(slots, SIZE, SAY), "before");
    assert.equal(2, line.at.d.match(/M/g).length);
    assert.equal(0, one(bars([{value: 1}], SIZE, SAY), "before").length);
});

test("every mark stays inside its box, of a year as well as of nothing", () => {
    const year = Array.from({length: 366}, (_, n) => ({value: (n * 7919) % 1000, before: (n * 31) % 1200}));
    for (const slots of [[], [{value: 0}], year]) {
        for (const width of [200, 660, 1056]) inside(bars(slots, {width, height: 240}, SAY));
    }
    for (const segments of [0, 1, 36, 4320]) inside(curve(heatmap(segments), SIZE, SAY));
    for (const segments of [0, 1, 36, 4320]) inside(strip(heatmap(segments), SIZE, SAY));
    for (const values of [[], [0], [3, 1, 2]]) inside(spark(values, {width: 300, height: 44}));
});

test("words below do not overlap", () => {
    const words = bars(Array(366).fill({value: 1}), SIZE, {...SAY, room: 64}).marks.filter((mark) => mark.class === "word");
    words.slice(1).forEach((word, n) => assert.ok(word.at.x - words[n].at.x >= 63));
});

test("the curve is as high as the share that still watches, and ends with the video", () => {
    const [line] = one(curve(heatmap(2, {durationSeconds: 15, rates: [1, 0.5]}), SIZE, SAY), "curve");
    assert.equal("M52 10L452 10L452 110L652 110", line.at.d);
});

test("the largest drop is a line at its moment", () => {
    const drawing = curve(heatmap(2, {durationSeconds: 20, largestDrop: {atSeconds: 10, lostRate: 0.5}}), SIZE, SAY);
    assert.equal(352, one(drawing, "drop")[0].at.x1);
});

test("the strip has a bar a segment, and marks what is played again", () => {
    const again = [{fromSeconds: 10, toSeconds: 20, passes: 2, views: 9}];
    const drawing = strip(heatmap(3, {passes: [1, 2, 1], mostRewatched: again}), SIZE, SAY);
    assert.deepEqual([100, 200, 100], rects(drawing).map((bar) => bar.at.height));
    assert.deepEqual(["bar", "bar again", "bar"], rects(drawing).map((bar) => bar.class));
    assert.equal(3, drawing.stops.length);
});

test("without a known length a video ends with its last segment", () => {
    assert.equal(30, lengthOf(heatmap(3)));
    assert.equal(28, lengthOf(heatmap(3, {durationSeconds: 28})));
});

test("a path has no NaN and no exponent", () => {
    assert.equal("M0 0.1L1 2", path([{x: 1e-9, y: 0.1}, {x: 1, y: 2}]));
});

test("each day of the range has a place, recorded or not, beside the same day of the stretch before", () => {
    const day = (day, courseViews) => ({day, courseViews, uniqueUsers: 0, watchTimeSeconds: 0, lectureViews: 0});
    const report = {range: {fromDay: "2026-11-03", toDay: "2026-11-04", days: 2}, days: [day("2026-11-04", 5)]};
    const slots = slotsOf(report, [day("2026-11-01", 3), day("2026-11-02", 4)], day("2026-11-05", 1), "views");
    assert.deepEqual(
        [
            {day: "2026-11-03", value: null, before: 3},
            {day: "2026-11-04", value: 5, before: 4},
            {day: "2026-11-05", value: 1, before: null, kind: "today"},
        ],
        slots,
    );
});

test("lectures are sorted either way, equal ones in course order", () => {
    const steps = [5, 9, 5].map((views) => ({views}));
    assert.deepEqual([1, 0, 2], sorted(steps, "views", true).map((each) => each.n));
    assert.deepEqual([0, 2, 1], sorted(steps, "views", false).map((each) => each.n));
    assert.deepEqual([2, 1, 0], sorted(steps, "order", true).map((each) => each.n));
});

function heatmap(many, {rates = [], passes = [], ...given} = {}) {
    const segments = Array.from({length: many}, (_, n) => ({
        startSeconds: n * 10,
        views: 1,
        retentionRate: rates[n] ?? 1 / (n + 1),
        passes: passes[n] ?? n % 3,
    }));
    return {segmentSeconds: 10, segments, mostRewatched: [], ...given};
}

function inside({width, height, marks, stops}) {
    for (const {tag, at} of marks) {
        for (const value of Object.values(at)) assert.ok(!/NaN|Infinity|undefined/.test(String(value)), `${tag} ${value}`);
        if (tag === "rect") {
            assert.ok(at.x >= 0 && at.y >= 0 && at.width >= 0 && at.height >= 0);
            assert.ok(at.x + at.width <= width + 0.2 && at.y + at.height <= height + 0.2);
        }
    }
    for (const stop of stops) assert.ok(stop >= 0 && stop <= width);
}
