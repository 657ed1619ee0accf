/* Formulas in MathML, which browsers set and screen readers read. Letters are text, so that a class
 * named "cat" can be an index. */

import {m} from "./dom.js";

const one = (x) => (typeof x === "string" ? v(x) : x);
/* "ij": two indices, each a letter; "cat": a name. */
const indices = (x) => (x === "ij" || x === "ik" ? row(v("i"), v(x[1])) : one(x));

export const v = (name) => m("mi", {}, name);
export const num = (x) => {
    const text = String(x);
    return text.startsWith("−")
        ? m("mrow", {}, m("mo", {form: "prefix"}, "−"), m("mn", {}, text.slice(1)))
        : m("mn", {}, text);
};
export const op = (sign) => m("mo", {}, sign);
export const row = (...parts) => m("mrow", {}, parts);
export const sub = (name, index) => m("msub", {}, one(name), indices(index));
export const sup = (base, power) => m("msup", {}, one(base), power);
export const fraction = (above, below) => m("mfrac", {}, above, below);
export const norm = (x) => m("mrow", {}, m("mo", {form: "prefix", stretchy: "false"}, "|"), x,
    m("mo", {form: "postfix", stretchy: "false"}, "|"));
export const square = (x) => m("msup", {}, x, m("mn", {}, "2"));
export const sum = (index) => m("munder", {}, m("mo", {}, "∑"), v(index));
export const eq = (...parts) => m("math", {display: "block"}, m("mrow", {}, parts));
/* A function's name and what it is of. */
export const of = (name, x) => m("mrow", {}, v(name), m("mspace", {width: "0.2em"}), x);
