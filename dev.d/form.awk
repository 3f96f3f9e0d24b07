# SPDX-License-Identifier: Apache-2.0
# Finds the first <form> whose inside matches the pattern WANT and prints what a browser would send: a line "action",
# the form's action, then "name=value" lines of hidden fields, ticked boxes and the first submit button (or the one
# whose tag or text matches PRESS). Enough HTML for our own pages and the sandbox hospital's.
function attr(tag, name,    at) {
    if (match(tag, "[ \t\n]" name "=\"[^\"]*\"")) {
        at = substr(tag, RSTART + length(name) + 3, RLENGTH - length(name) - 4)
        return plain(at)
    }
    return ""
}
function plain(text) {
    gsub(/&#39;|&#x27;/, "'", text); gsub(/&quot;|&#34;/, "\"", text); gsub(/&lt;/, "<", text); gsub(/&gt;/, ">", text)
    gsub(/&#x2F;|&#47;/, "/", text); gsub(/&#61;/, "=", text); gsub(/&amp;/, "\\&", text)
    return text
}
BEGIN { RS = "<[fF][oO][rR][mM]"; done = 0 }
NR > 1 && !done {
    sub(/<\/[fF][oO][rR][mM]>.*/, "")
    if ($0 !~ WANT) next
    done = 1
    head = $0; sub(/>.*/, "", head)
    print attr(" " head, "action")
    rest = $0; pressed = 0
    while (match(rest, /<(input|button)[^>]*>/)) {
        tag = substr(rest, RSTART, RLENGTH)
        rest = substr(rest, RSTART + RLENGTH)
        type = attr(tag, "type"); name = attr(tag, "name"); value = attr(tag, "value")
        if (tag ~ /^<button/ || type == "submit") {
            label = rest; sub(/<.*/, "", label)
            if (!pressed && (PRESS == "" || tag ~ PRESS || label ~ PRESS)) {
                pressed = 1
                if (name != "") print name "=" value
            }
        } else if (name != "" && (type == "hidden" || ((type == "checkbox" || type == "radio") && tag ~ /[ \t\n]checked/))) {
            print name "=" (value == "" && type == "checkbox" ? "on" : value)
        }
    }
}
END { exit !done }
