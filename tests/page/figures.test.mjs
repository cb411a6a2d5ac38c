import assert from "node:assert/strict";
import {test} from "node:test";

import {isDay, shift, stretch} from "../../page/days.js";
import {change, largestDrop, notCounted, ofAllTime, ofDay, ofStretch} from "../../page/figures.js";

const figures = (given) => ({views: 0, people: 0, watch: 0, average: 0, completion: null, error: 0.0081, ...given});

test("what was nothing before is new", () => {
    assert.deepEqual({kind: "new"}, change("views", figures({views: 3}), figures({views: 0})));
});

test("people within the error of the difference are about the same", () => {
    // The error of 1,000 against 1,000 is 1,000 × 0.0081 × √2 = 11.5.
    assert.deepEqual({kind: "about"}, change("people", figures({people: 1011}), figures({people: 1000})));
    assert.equal("share", change("people", figures({people: 1013}), figures({people: 1000})).kind);
});

test("the average of a person has the error of the people", () => {
    assert.deepEqual({kind: "about"}, change("average", figures({average: 101}), figures({average: 100})));
});

test("an exact figure changes by one", () => {
    assert.deepEqual({kind: "share", by: 0.001}, rounded(change("views", figures({views: 1001}), figures({views: 1000}))));
    assert.deepEqual({kind: "equal"}, change("watch", figures({watch: 7}), figures({watch: 7})));
});

test("a rate changes by points", () => {
    assert.deepEqual(
        {kind: "points", by: -0.1},
        rounded(change("completion", figures({completion: 0.4}), figures({completion: 0.5}))),
    );
});

test("without a stretch before nothing is compared", () => {
    assert.deepEqual({kind: "unknown"}, change("views", figures({views: 3}), null));
    assert.deepEqual({kind: "unknown"}, change("completion", figures({completion: 0.5}), figures({})));
});

test("nobody completes what nobody began", () => {
    const overview = {lectureViews: 0, dropOffRate: 0, courseViews: 1, uniqueUsers: 1, watchTimeSeconds: 0};
    assert.equal(null, ofStretch(overview).completion);
    assert.equal(0.75, ofStretch({...overview, lectureViews: 4, dropOffRate: 0.25}).completion);
    const dashboard = {overview: {totalViews: 1, dropOffRate: 0}, engagementFunnel: [{views: 0}]};
    assert.equal(null, ofAllTime(dashboard).completion);
});

test("the average of a day without people is 0", () => {
    assert.equal(0, ofDay({uniqueUsers: 0, watchTimeSeconds: 0}, "average"));
    assert.equal(30, ofDay({uniqueUsers: 2, watchTimeSeconds: 60}, "average"));
});

test("the largest drop is the one of the most views, and the first of equal ones", () => {
    const funnel = [100, 90, 60, 30, 40].map((views, n) => ({views, title: String(n)}));
    assert.equal("2", largestDrop(funnel).step.title);
    assert.equal(30, largestDrop(funnel).lost);
    assert.equal(null, largestDrop([{views: 1}, {views: 2}]));
    assert.equal(null, largestDrop([]));
});

test("what came twice is not lost", () => {
    const reasons = [
        {reason: "REPEATED", events: 7},
        {reason: "OVERLOADED", events: 29},
        {reason: "IMPLAUSIBLE", events: 12},
    ];
    assert.deepEqual(
        {lost: 41, repeated: 7, events: 148},
        notCounted(reasons, {courseViews: 60, lectureViews: 40}),
    );
});

test("days go over months, years and the ends of summer time", () => {
    assert.equal("2027-01-01", shift("2026-12-31", 1));
    assert.equal("2024-02-29", shift("2024-03-01", -1));
    assert.deepEqual(["2026-10-24", "2026-10-25", "2026-10-26"], stretch("2026-10-24", "2026-10-26"));
    assert.deepEqual([], stretch("2026-10-26", "2026-10-24"));
});

test("a day exists", () => {
    assert.equal(true, isDay("2024-02-29"));
    for (const text of ["2026-02-29", "2026-13-01", "", "26-1-1", "2026-11-25T00"]) assert.equal(false, isDay(text), text);
});

function rounded(change) {
    return {...change, by: Math.round(change.by * 1e9) / 1e9};
}
