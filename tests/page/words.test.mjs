import assert from "node:assert/strict";
import {readdirSync, readFileSync} from "node:fs";
import {test} from "node:test";

import {formats} from "../../page/format.js";
import {languageOf, LANGUAGES, localeOf, speaker} from "../../page/words.js";

const PAGE = new URL("../../page/", import.meta.url);
const read = (name) => readFileSync(new URL(name, PAGE), "utf8");
const words = Object.fromEntries(LANGUAGES.map((language) => [language, JSON.parse(read(`words/${language}.json`))]));
const scripts = readdirSync(PAGE, {recursive: true}).filter((name) => name.endsWith(".js"));
const code = scripts.map(read).join("\n");

const forms = (entry) => (typeof entry === "string" ? [entry] : Object.values(entry));
const holes = (entry) => [...new Set(forms(entry).flatMap((form) => form.match(/\{\w+\}/g) ?? []))].sort();

test("every language has every word, with the same holes", () => {
    for (const language of LANGUAGES) {
        assert.deepEqual(Object.keys(words.en).sort(), Object.keys(words[language]).sort(), language);
        for (const [key, entry] of Object.entries(words[language])) {
            assert.deepEqual(holes(words.en[key]), holes(entry), `${language} ${key}`);
        }
    }
});

test("every word is said", () => {
    const families = [...code.matchAll(/`([a-z]+)\.\$\{[^}]+\}(\.title)?`/g)].map(([, family]) => `${family}.`);
    for (const key of Object.keys(words.en)) {
        const said = code.includes(`"${key}"`) || families.some((family) => key.startsWith(family));
        assert.ok(said, key);
    }
});

test("every plural has the forms of its language", () => {
    for (const language of LANGUAGES) {
        const wanted = new Intl.PluralRules(language).resolvedOptions().pluralCategories.sort();
        for (const [key, entry] of Object.entries(words[language])) {
            if (typeof entry !== "string") assert.deepEqual(wanted, Object.keys(entry).sort(), `${language} ${key}`);
        }
    }
});

test("no word stands in the scripts or in the document", () => {
    const document = read("index.html").replace(/<title>Course analytics<\/title>/, "");
    assert.equal("", document.replace(/<[^>]*>/g, "").trim());
    const lines = code.replace(/\/\*[\s\S]*?\*\//g, "").split("\n");
    const texts = lines.flatMap((line) => [...line.matchAll(/"([^"]*)"/g)].map(([, text]) => text));
    const sentences = texts.filter((text) => /[a-z] [a-z]/i.test(text) && !/^(bar|bone) [a-z]+$/.test(text));
    assert.deepEqual([], sentences);
});

test("the browser's first language that the page speaks is spoken", () => {
    assert.equal("de", languageOf(["fr", "de-AT", "en"]));
    assert.equal("en", languageOf(["fr"]));
    assert.equal("en-GB", localeOf("en", ["de", "en-GB"]));
    assert.equal("de", localeOf("de", ["en-GB"]));
    assert.equal("en", localeOf("en", ["en-US@posix", "C"]));
});

test("a sentence has its values in their places, in the plural form of its number", () => {
    const {say} = speaker("en", words.en);
    assert.equal("1 of 9 events was not counted", say("lost.line", {n: 1, lost: "1", events: "9"}));
    assert.equal("41 of 12,345 events were not counted", say("lost.line", {n: 41, lost: "41", events: "12,345"}));
});

test("a value is no template", () => {
    const {say} = speaker("en", words.en);
    assert.equal("As of {moment} $& <b>", say("asOf", {moment: "{moment} $& <b>"}));
});

test("numbers, days and durations are those of the language", () => {
    const [en, de] = [formats("en-GB"), formats("de")];
    assert.deepEqual(["12,345", "12.345"], [en.number(12_345), de.number(12_345)]);
    assert.deepEqual(["41.5%", "41,5\u00a0%"], [en.share(0.415), de.share(0.415)]);
    assert.deepEqual(["20 Nov 2026", "20. Nov. 2026"], [en.day("2026-11-20"), de.day("2026-11-20")]);
    assert.deepEqual(["3 hrs 20 mins", "3 Std. 20 Min."], [en.duration(12_000), de.duration(12_000)]);
    assert.deepEqual(["5 mins 6 secs", "59 secs", "0 secs"], [306, 59, 0].map(en.duration));
    assert.deepEqual(["03:20", "01:00:05"], [200, 3605].map(en.position));
    assert.deepEqual(["+1.2", "-3"], [0.012, -0.03].map(en.points));
});

test("the zone of the days is told in words", () => {
    assert.equal("Europe/Berlin (Central European Time)", formats("en-GB").zone("Europe/Berlin"));
    assert.equal("Europe/Berlin (Mitteleuropäische Zeit)", formats("de").zone("Europe/Berlin"));
    assert.equal("UTC", formats("en-GB").zone("UTC"));
});
