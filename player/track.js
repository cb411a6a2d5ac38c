/** The script that a course site puts beside its video. Not written yet: this is the place, so that the gateway serves
 * something. It is long enough to be worth compressing, as the real one will be: the gateway does not compress less than
 * a few hundred bytes.
 * @returns {void}
 */
export function track() {}
