/* Numbers as people read them. */

export const fixed = (x, digits = 2) => {
    if (x === null || x === undefined || !Number.isFinite(x))
        return "–";
    const text = x.toFixed(digits);
    return (Number(text) === 0 ? text.replace("-", "") : text).replace("-", "−");
};
export const signed = (x, digits = 2) =>
    (Number(x.toFixed(digits)) > 0 ? "+" : "") + fixed(x, digits);
export const percent = (x, digits = 0) => `${fixed(100 * x, digits)} %`;
export const count = (n, one, many) => `${n} ${n === 1 ? one : many}`;
export const thousands = (n) => String(n).replace(/\B(?=(\d{3})+$)/g, "\u202f");

/* "3", "3 and 5", "3, 5 and 8" */
export function list(words) {
    if (words.length < 2)
        return words.join("");
    return `${words.slice(0, -1).join(", ")} and ${words[words.length - 1]}`;
}

/* Indices of the greatest values, greatest first. */
export function greatest(values, n) {
    return [...values.keys()].sort((a, b) => values[b] - values[a]).slice(0, n);
}

export function quantile(values, q) {
    const sorted = [...values].sort((a, b) => a - b);
    if (!sorted.length)
        return NaN;
    return sorted[Math.min(sorted.length - 1, Math.floor(q * sorted.length))];
}

/* `n` numbers from `low` to `high`, both included. */
export function steps(low, high, n) {
    return Array.from({length: n}, (_, i) => low + ((high - low) * i) / (n - 1));
}
