/** The page's texts, in the languages of the folder `words/`. */

/** @typedef {typeof import("./words/en.json")} English */
/** @typedef {keyof English} Key */
/** @typedef {Record<string, string | number>} Values */
/** @typedef {Record<string, string | Record<string, string>>} Entries */
/** @typedef {ReturnType<typeof speaker>} Words */

export const LANGUAGES = /** @type {const} */ (["en", "de"]);

/**
 * The first of the requested languages that the page supports; English if it supports none.
 *
 * @param {readonly string[]} asked  such as "de-AT"
 */
export function languageOf(asked) {
    const spoken = asked.map((each) => each.slice(0, 2).toLowerCase());
    return LANGUAGES.find((each) => each === spoken.find((one) => LANGUAGES.some((known) => known === one))) ?? "en";
}

/** A language tag that `Intl` accepts. On Linux a browser may report others: "en-US@posix". */
const TAG = /^[a-z]{2,3}(-[a-z0-9]+)*$/i;

/**
 * The locale for numbers and dates: the region that the browser reports, if it belongs to the language.
 *
 * @param {string} language
 * @param {readonly string[]} asked
 */
export const localeOf = (language, asked) =>
    asked.find((each) => TAG.test(each) && languageOf([each]) === language) ?? language;

/**
 * Loads the texts of a language.
 *
 * @param {string} language
 */
export async function wordsOf(language) {
    const response = await fetch(new URL(`words/${language}.json`, import.meta.url));
    return speaker(language, await response.json());
}

/**
 * Formats texts. An entry is a template with `{names}`, or one for each plural form of the value `n`. Pure.
 *
 * @param {string} language
 * @param {Entries} entries
 */
export function speaker(language, entries) {
    const plurals = new Intl.PluralRules(language);

    /** @param {Key} key @param {Record<string, unknown>} values */
    function template(key, values) {
        const entry = entries[key] ?? key;
        if (typeof entry === "string") return entry;
        return entry[plurals.select(Number(values.n))] ?? entry.other ?? key;
    }

    return {
        language,
        /**
         * A sentence with its values in their places. `n` chooses the plural form; what is shown is another value.
         *
         * @param {Key} key
         * @param {Values} [values]
         */
        say: (key, values = {}) => template(key, values).replace(/\{(\w+)\}/g, (_, name) => String(values[name])),
        /**
         * The same around elements, which stand where the sentence has their names.
         *
         * @param {Key} key
         * @param {Record<string, string | number | Node>} values
         * @returns {(string | Node)[]}
         */
        around: (key, values) =>
            template(key, values)
                .split(/\{(\w+)\}/)
                .map((part, n) => (n % 2 ? (values[part] ?? "") : part))
                .map((part) => (typeof part === "number" ? String(part) : part)),
    };
}
