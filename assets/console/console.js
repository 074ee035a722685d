// What cannot be done without a script: copying, filtering while typing, and a word before a secret is lost.
"use strict";

document.documentElement.classList.add("scripted");
