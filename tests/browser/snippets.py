"""Pieces of JavaScript that look at the page as a whole."""

# Buttons and links that a finger would miss (WCAG 2.2, target size).
SMALL = """
return [...document.querySelectorAll('button, a, select, input, summary, label.button')].filter((e) => {
    const b = e.getBoundingClientRect();
    return b.width && !e.matches('.unseen, .skip') && (b.height < 24 || b.width < 24);
}).map((e) => e.outerHTML.slice(0, 80) + ' ' + Math.round(e.getBoundingClientRect().height));
"""

# Text that is wider than its box, or that lies over another text.
CUT = """
const out = [], boxes = [];
for (const e of document.querySelectorAll('button, h2, h3, p, figcaption, .bar-name, output, th, td')) {
    const b = e.getBoundingClientRect();
    if (!b.width || e.closest('.unseen, .scroll, [hidden], details:not([open])') || e.matches('.skip'))
        continue;
    if (e.scrollWidth > e.clientWidth + 1 && e.clientWidth && getComputedStyle(e).display !== 'inline')
        out.push('cut: ' + e.textContent.slice(0, 50));
    if (e.matches('p, h2, h3, figcaption'))
        boxes.push([e, b]);
}
for (const [e, a] of boxes)
    for (const [f, b] of boxes)
        if (e !== f && !e.contains(f) && !f.contains(e) && a.left < b.right - 2 && b.left < a.right - 2
            && a.top < b.bottom - 2 && b.top < a.bottom - 2 && e.compareDocumentPosition(f) & 4)
            out.push('over: ' + e.textContent.slice(0, 40) + ' | ' + f.textContent.slice(0, 40));
return out;
"""

# How far the ink of the upper half lies to the right of that of the lower half, in pixels. The page
# is light: ink is dark.
LEAN = """
const c = document.querySelector(arguments[0]);
const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
const sums = [[0, 0], [0, 0]];
for (let p = 0; p < d.length; p += 4) {
    const x = (p / 4) % c.width, half = p / 4 < c.width * c.height / 2 ? 0 : 1, ink = 255 - d[p];
    sums[half][0] += ink * x;
    sums[half][1] += ink;
}
return sums[0][0] / sums[0][1] - sums[1][0] / sums[1][1];
"""

# Has a canvas both an orange and a blue pixel?
TWO_COLOURS = """
const c = document.querySelector(arguments[0]);
const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data;
let orange = 0, blue = 0;
for (let p = 0; p < d.length; p += 4) {
    orange += d[p] > d[p + 2] + 60;
    blue += d[p + 2] > d[p] + 60;
}
return orange > 10 && blue > 10;
"""
