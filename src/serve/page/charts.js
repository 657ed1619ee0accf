/* Curves and coloured cells. Charts are drawn anew when their box changes its width, so that text
 * keeps its size on a phone. */

import {h, s} from "./dom.js";
import {isDark} from "./pixels.js";
import {fixed} from "./words.js";

/* -1 blue, 0 paper, 1 orange, of about the same darkness: [r, g, b]. */
function divergingParts(t) {
    const v = Math.min(1, Math.abs(t));
    const [paper, end] = isDark() ? [[32, 36, 43], t < 0 ? [70, 165, 245] : [255, 150, 40]]
                                  : [[244, 244, 240], t < 0 ? [0, 95, 155] : [200, 80, 0]];
    return paper.map((p, k) => Math.round(p + (end[k] - p) * v));
}

export const diverging = (t) => `rgb(${divergingParts(t).join(" ")})`;

/* Black or white, whichever is easier to read on such a colour (relative luminance of WCAG). */
export function inkOn(t) {
    const [r, g, b] = divergingParts(t).map(
        (c) => (c / 255 <= 0.04045 ? c / 255 / 12.92 : ((c / 255 + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b > 0.179 ? "#000000" : "#ffffff";
}

export function heatCell(t, text, title) {
    const cell = h("span", {class: "heat", title}, text);
    cell.style.backgroundColor = diverging(t);
    cell.style.color = inkOn(t);
    return cell;
}

/* draw(width) gives the SVG; called now and on every change of the width. */
export function responsive(box, draw) {
    let width = 0;
    const again = () => {
        width = Math.floor(box.clientWidth);
        if (width > 0)
            box.replaceChildren(draw(width));
    };
    new ResizeObserver(() => {
        if (Math.floor(box.clientWidth) !== width)
            again();
    }).observe(box);
    return again;
}

export const path = (points) =>
    points.map(([x, y], i) => `${i ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`).join("");

/* Ticks at round numbers. */
export function ticks(low, high, most) {
    const rough = (high - low) / most, power = 10 ** Math.floor(Math.log10(rough));
    const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough * 0.999);
    const out = [];
    for (let v = Math.ceil(low / step - 1e-9) * step; v <= high + step * 1e-6; v += step)
        out.push(Math.abs(v) < step * 1e-6 ? 0 : v);
    return out;
}

/* Names at the right ends of curves, pushed apart so that none covers another. */
function endNames(lines, y, height) {
    const names = lines.filter((l) => l.name)
                      .map((l) => ({l, y: y(l.values.at(-1))}))
                      .sort((a, b) => a.y - b.y);
    for (let k = 0; k < 40; k++)
        for (let i = 1; i < names.length; i++) {
            const lack = 13 - (names[i].y - names[i - 1].y);
            if (lack > 0) {
                names[i].y += lack / 2;
                names[i - 1].y -= lack / 2;
            }
        }
    const least = 8, over = names.length ? names.at(-1).y - (height - 2) : 0;
    names.forEach((n) => {
        n.y = Math.max(least, n.y - Math.max(0, over));
    });
    return names;
}

/* After the point, for about five ticks over such a span. */
const digits = (span) => Math.max(0, Math.ceil(-Math.log10(span / 5)));

/* lines: [{values, name, className}] over `at`; low, high: of y; cursor: an index of `at`;
 * label: what a screen reader says; xName: text below. Options: width, height, format of x,
 * bands: [{low, high, className}] across. */
export function curves({
    at,
    lines,
    low,
    high,
    cursor,
    label,
    xName,
    yName,
    width,
    height = 190,
    format = String,
    bands = []
}) {
    const left = 28 + 6 * digits(high - low), right = 30, top = 18, bottom = 34;
    const x = (v) => left + ((v - at[0]) / (at.at(-1) - at[0] || 1)) * (width - left - right);
    const y = (v) => top + (1 - (v - low) / (high - low || 1)) * (height - top - bottom);
    const names = endNames(lines, y, height - bottom);
    return s("svg", {
        width,
        height,
        viewBox: `0 0 ${width} ${height}`,
        role: "img",
        "aria-label": label,
        class: "chart"
    },
        bands.map((b) => s("rect", {
            class: b.className,
            x: left,
            width: width - left - right,
            y: y(b.high),
            height: Math.max(0, y(b.low) - y(b.high))
        })),
        ticks(low, high, 5)
            .map((v) => s("g", {},
                     s("line", {class: "rule", x1: left, x2: width - right, y1: y(v), y2: y(v)}),
                     s("text", {
                         class: "tick-name",
                         x: left - 6,
                         y: y(v),
                         "text-anchor": "end",
                         "dominant-baseline": "central"
                     },
                         fixed(v, digits(high - low))))),
        ticks(at[0], at.at(-1), width < 420 ? 6 : 8)
            .map(
                (v) => s("text",
                    {class: "tick-name", x: x(v), y: height - bottom + 15, "text-anchor": "middle"},
                    format(v))),
        s("text", {
            class: "axis-name",
            x: (left + width - right) / 2,
            y: height - 3,
            "text-anchor": "middle"
        },
            xName),
        yName && s("text", {class: "axis-name", x: 2, y: 10}, yName), lines.map((l) => s("path", {
            class: `curve ${l.className || ""}`,
            d: path(l.values.map((v, i) => [x(at[i]), y(v)]))
        })),
        names.map((n) => s("text", {
            class: `end-name ${n.l.className || ""}`,
            x: width - right + 5,
            y: n.y,
            "dominant-baseline": "central"
        },
                      n.l.name)),
        cursor !== undefined && cursor !== null && s("line", {
            class: "cursor",
            x1: x(at[cursor]),
            x2: x(at[cursor]),
            y1: top - 4,
            y2: height - bottom
        }));
}

/* A small curve without axes, with the range of the data behind it. */
export function spark({values, low, high, band, cursor, width, height = 44, label}) {
    const x = (i) => 4 + (i / (values.length - 1)) * (width - 8);
    const y = (v) => 4 + (1 - (v - low) / (high - low || 1)) * (height - 8);
    return s("svg", {
        width,
        height,
        viewBox: `0 0 ${width} ${height}`,
        role: "img",
        "aria-label": label,
        class: "spark"
    },
        band && s("rect", {
            class: "band-area",
            x: 0,
            width,
            y: y(band[1]),
            height: Math.max(1, y(band[0]) - y(band[1]))
        }),
        s("path", {class: "curve chosen", d: path(values.map((v, i) => [x(i), y(v)]))}),
        s("line", {class: "cursor", x1: x(cursor), x2: x(cursor), y1: 0, y2: height}),
        s("circle", {class: "dot", cx: x(cursor), cy: y(values[cursor]), r: 3.5}));
}
