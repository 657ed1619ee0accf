/* In which range the numbers of a class's capsule lie over the images of the data set. */

import {get} from "./api.js";
import {model, state} from "./store.js";

const kept = new Map();

/* {low, high, mean: [D], n}, or null where there are no data. */
export function rangesOf(j) {
    const key = `${state.index}:${j}`;
    if (!state.data || !model().capsules)
        return Promise.resolve(null);
    if (!kept.has(key))
        kept.set(key, get(`/api/ranges?class=${j}&model=${state.index}`).catch(() => null));
    return kept.get(key);
}

/* What a slider of dimension d spans: the range of the data with half as much on both sides, and
 * the value that it has. Without data, what capsules commonly have. */
export function spanOf(ranges, d, value) {
    let low = -0.3, high = 0.3;
    if (ranges) {
        const half = Math.max(0.05, (ranges.high[d] - ranges.low[d]) / 2);
        low = ranges.low[d] - half;
        high = ranges.high[d] + half;
    }
    return [Math.min(low, value - 0.02), Math.max(high, value + 0.02)];
}
