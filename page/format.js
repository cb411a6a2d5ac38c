/** Numbers, days and durations in a language. Pure. */

/** @typedef {ReturnType<typeof formats>} Formats */

/**
 * @param {string} language
 */
export function formats(language) {
    /** @param {Intl.NumberFormatOptions} options */
    const by = (options) => {
        const format = new Intl.NumberFormat(language, options);
        return (/** @type {number} */ value) => format.format(value);
    };
    /** @param {string} name @param {number} [digits] */
    const unit = (name, digits = 0) =>
        by({style: "unit", unit: name, unitDisplay: "short", maximumFractionDigits: digits});
    /** @param {Intl.DateTimeFormatOptions} options */
    const dates = (options) => {
        const format = new Intl.DateTimeFormat(language, {...options, timeZone: "UTC"});
        return (/** @type {string} */ day) => format.format(new Date(`${day}T00:00:00Z`));
    };
    const [hours, minutes, seconds] = [unit("hour"), unit("minute"), unit("second")];
    const number = by({maximumFractionDigits: 0});
    const two = by({minimumIntegerDigits: 2, useGrouping: false});

    /** @param {number} value */
    function duration(value) {
        const whole = Math.round(value);
        if (whole < 60) return seconds(whole);
        if (whole < 3600) return together(minutes(Math.floor(whole / 60)), whole % 60, seconds);
        return together(hours(Math.floor(whole / 3600)), Math.floor((whole % 3600) / 60), minutes);
    }

    /** @param {number} value */
    function position(value) {
        const whole = Math.floor(value);
        const [h, m, s] = [Math.floor(whole / 3600), Math.floor((whole % 3600) / 60), whole % 60];
        return (h ? [two(h), two(m), two(s)] : [two(m), two(s)]).join(":");
    }

    return {
        /** 12,345 */
        number,
        /** 12K */
        short: by({notation: "compact", maximumFractionDigits: 1}),
        /** 2.4 */
        times: by({minimumFractionDigits: 1, maximumFractionDigits: 1}),
        /** 41.5 % of 0.415 */
        share: by({style: "percent", maximumFractionDigits: 1}),
        /** +12 % of 0.12 */
        growth: by({style: "percent", maximumFractionDigits: 0, signDisplay: "exceptZero"}),
        /** +1.2, percentage points of 0.012 */
        points: (/** @type {number} */ value) =>
            by({maximumFractionDigits: 1, signDisplay: "exceptZero"})(value * 100),
        /** 3 hr 20 min of seconds */
        duration,
        /** 3.3 hr of seconds: for an axis */
        hours: (/** @type {number} */ value) =>
            value < 3600 ? unit("minute", 1)(value / 60) : unit("hour", 1)(value / 3600),
        /** 03:20 of seconds: a place in a video */
        position,
        /** 20 Nov 2026 */
        day: dates({day: "numeric", month: "short", year: "numeric"}),
        /** Fri, 20 Nov 2026 */
        weekday: dates({weekday: "short", day: "numeric", month: "short", year: "numeric"}),
        /** 20 Nov */
        shortDay: dates({day: "numeric", month: "short"}),
        /** 20 Nov 2026, 12:03:05 UTC, in a time zone */
        moment: (/** @type {string} */ instant, /** @type {string | undefined} */ zone) =>
            new Intl.DateTimeFormat(language, {
                dateStyle: "medium",
                timeStyle: "long",
                ...(zone && {timeZone: zone}),
            }).format(new Date(instant)),
        /** 12:03:05 UTC, in a time zone */
        time: (/** @type {string} */ instant, /** @type {string} */ zone) =>
            new Intl.DateTimeFormat(language, {timeStyle: "long", timeZone: zone}).format(new Date(instant)),
        /** Central European Time of Europe/Berlin */
        zone: (/** @type {string} */ zone) => nameOfZone(language, zone),
    };
}

/** @typedef {(value: number) => string} Shown */

/** @param {string} large @param {number} rest @param {Shown} unit */
const together = (large, rest, unit) => (rest ? `${large} ${unit(rest)}` : large);

/** @param {string} language @param {string} zone */
function nameOfZone(language, zone) {
    const parts = new Intl.DateTimeFormat(language, {timeZone: zone, timeZoneName: "longGeneric"}).formatToParts();
    const name = parts.find((part) => part.type === "timeZoneName")?.value ?? zone;
    // UTC has no other name: ICU calls it "GMT+00:00" then.
    return name === zone || name.startsWith("GMT") ? zone : `${zone} (${name})`;
}
