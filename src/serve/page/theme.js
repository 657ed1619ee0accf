/* Runs before the page is drawn, so that a dark page never flashes white: the choice of the last
 * visit, or none, which leaves it to the system. */
"use strict";
try {
    const theme = localStorage.getItem("capscl-theme");
    if (theme === "light" || theme === "dark")
        document.documentElement.dataset.theme = theme;
} catch {
    /* Storage is turned off: the system decides. */
}
