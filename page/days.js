/** Arithmetic of calendar days, as "YYYY-MM-DD". Pure. */

const DAY_MS = 86_400_000;

/** @param {string} day @returns {number}  days since 1970-01-01 */
const number = (day) => Date.parse(`${day}T00:00:00Z`) / DAY_MS;

/**
 * The day that many days later; earlier when negative.
 *
 * @param {string} day
 * @param {number} days
 */
export const shift = (day, days) => new Date((number(day) + days) * DAY_MS).toISOString().slice(0, 10);

/**
 * All days of a range, both ends included.
 *
 * @param {string} from
 * @param {string} to
 */
export const stretch = (from, to) =>
    Array.from({length: Math.max(0, number(to) - number(from) + 1)}, (_, n) => shift(from, n));

/**
 * Whether the entered text is an existing day.
 *
 * @param {string} text
 */
export const isDay = (text) => /^\d{4}-\d\d-\d\d$/.test(text) && !Number.isNaN(number(text)) && shift(text, 0) === text;
