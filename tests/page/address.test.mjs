import assert from "node:assert/strict";
import {test} from "node:test";

import {placeOf, searchOf, START} from "../../page/address.js";

const COURSE = "650000000000000000000001";
const LECTURE = "650000000000000000000011";

test("an empty query is the list of courses", () => {
    assert.deepEqual(START, placeOf(""));
    assert.equal("", searchOf(START));
});

test("every place survives its address", () => {
    for (const range of ["7", "28", "90", "all", "2026-11-01..2026-11-25"]) {
        for (const compare of [true, false]) {
            for (const figure of ["views", "people", "watch", "average"]) {
                for (const sort of ["order", "views", "watch", "retention", "dropOff"]) {
                    for (const down of [true, false]) {
                        const place = {...START, course: COURSE, lecture: LECTURE, range, compare, figure, sort, down};
                        assert.deepEqual({...place, language: "de"}, placeOf(searchOf({...place, language: "de"})));
                    }
                }
            }
        }
    }
});

test("what is malformed is as at the start", () => {
    const hostile = "?course=../x&lecture=1&range=5&compare=maybe&figure=constructor&sort=-__proto__&lang=xx";
    assert.deepEqual(START, placeOf(hostile));
});

test("a lecture without its course is no place", () => {
    assert.equal("", placeOf(`?lecture=${LECTURE}`).lecture);
});

test("what the site has in its query stays", () => {
    assert.equal(`?menu=open&course=${COURSE}`, searchOf({...START, course: COURSE}, "?menu=open&range=7"));
});

test("the address never has a token", () => {
    assert.deepEqual(placeOf(""), placeOf("?token=secret"));
});
