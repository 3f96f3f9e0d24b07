# shellcheck shell=bash
# SPDX-License-Identifier: Apache-2.0
# The Session that `up` runs: an app's backend asks for it, a patient's browser (curl with a cookie jar, pressing the
# pages' own forms) goes through it, the scheduler pulls, and the records are counted.

TOUR_PATIENT=tour_patient
TOUR_RETURN=https://app.example/connected

tour_run() {
    step "one Session, end to end"
    TOUR=$(mktemp -d "$STATE/tour.XXXXXX")
    local source session url
    source=$(api GET "/api/connections?q=Sandbox%20Hospital&limit=1" | jq -re '.data[0].id')
    session=$(api POST /api/patient-sessions "$(jq -nc --arg p "$TOUR_PATIENT" --arg r "$TOUR_RETURN" --arg s "$source" \
        '{patient_id: $p, patient_name: "Amara Okonjo", return_url: $r, return_button_label: "Back to the demo app",
          recommended_connection_ids: [$s], metadata: {made_by: "dev up"}}')")
    url=$(jq -re .url <<<"$session")
    TOUR_SOURCE=$source
    say "  app      POST /api/patient-sessions -> $(jq -r .id <<<"$session")"
    tour_browse "$url"
    session=$(api GET "/api/patient-sessions/$(jq -r .id <<<"$session")")
    [ "$(jq -r .status <<<"$session")" = complete ] || die "the Session is $(jq -r .status <<<"$session"), not complete"
    say "  app      Session $(jq -r '.status + ", connection " + (.connections[0].id // "none") + " " + .connections[0].status' <<<"$session")"
    tour_watch_pull
    tour_print "$source"
    rm -rf "$TOUR"
}

# browse WHO URL [CURL-OPTION]...: one page, redirects followed by hand so that the return_url is not fetched. Leaves the
# page in $TOUR/page and its address in TOUR_URL.
browse() {
    local who=$1 next=$2 hops=0 status
    shift 2
    while :; do
        TOUR_URL=$next
        status=$(curl -sS --max-time 60 -b "$TOUR/jar" -c "$TOUR/jar" -o "$TOUR/page" -w '%{http_code} %{redirect_url}' "$@" "$next")
        say "  $who $(printf '%-8s' "${status%% *}") ${next%%\?*}"
        next=${status#* }
        case ${status%% *} in
            30[1-8]) ;;
            200) return 0 ;;
            *) die "the page ${TOUR_URL%%\?*} answered ${status%% *}" ;;
        esac
        set -- # a redirect is followed by a GET
        hops=$((hops + 1))
        [ "$hops" -lt 20 ] || die "redirects without an end"
        if [[ $next = "$TOUR_RETURN"* ]]; then
            TOUR_URL=$next
            return 0
        fi
    done
}

# press WHO WANT PRESS [NAME=VALUE]...: sends the form that matches WANT.
press() {
    local who=$1 want=$2 button=$3 lines action line data=()
    shift 3
    lines=$(awk -v WANT="$want" -v PRESS="$button" -f "$ROOT/dev.d/form.awk" "$TOUR/page") ||
        die "no form with \"$want\" on ${TOUR_URL%%\?*}; the page is $TOUR/page"
    { read -r action; while IFS= read -r line; do data+=(--data-urlencode "$line"); done; } <<<"$lines"
    for line in "$@"; do data+=(--data-urlencode "$line"); done
    case $action in
        '') action=$TOUR_URL ;;
        /*) action=$ORIGIN$action ;;
        http*) ;;
        *) action=${TOUR_URL%/*}/$action ;;
    esac
    [ ${#data[@]} -gt 0 ] || data=(--data '')
    browse "$who" "$action" -H "Origin: $ORIGIN" "${data[@]}"
}

# The patient's way: search page, portal, consent, result, Done.
tour_browse() {
    browse patient "$1"
    press patient '/start"' "$TOUR_SOURCE"
    press portal '/oauth/login"' 'value="login"' "name=${TOUR_PERSON:-Amara Okonjo}"
    press portal '/oauth/consent"' 'value="allow"'
    press patient '/done"' ''
    [[ $TOUR_URL = "$TOUR_RETURN"* ]] || die "Done did not lead back to the app"
    say "  app      back at ${TOUR_URL%%\?*} with ${TOUR_URL#*\?}"
}

tour_watch_pull() {
    local until=$((SECONDS + 300)) status line='' last=''
    while :; do
        status=$(ctl pull status --patient "$TOUR_PATIENT" --org "$(cat "$ETC/organization")" --json)
        line=$(jq -r 'if length == 0 then "waiting" else .[0] | "\(.status), \(.requests) requests, \(.received) received, \(.stored) stored, \(.unchanged) unchanged" end' <<<"$status")
        if [ -t 1 ]; then
            printf '\r  pull     %-90s' "$line"
        elif [ "$line" != "$last" ]; then
            say "  pull     $line"
        fi
        last=$line
        case $line in complete* | partial* | failed*) break ;; esac
        [ "$SECONDS" -lt "$until" ] || die "the pull did not end in five minutes"
        sleep 0.25
    done
    [ ! -t 1 ] || printf '\n'
    [[ $line != failed* ]] || die "the pull failed"
}

tour_print() {
    local cursor='' page
    step "what the app sees"
    api GET "/api/patients/$TOUR_PATIENT" | jq -r '.connections[] | "  \(.id)  \(.status)  \(.connection_id)  \(.scopes | join(" "))"'
    : >"$TOUR/types"
    while :; do
        page=$(api GET "/api/patients/$TOUR_PATIENT/records?count=100${cursor:+&starting_after=$cursor}")
        jq -r '.data[].resource.resourceType' <<<"$page" >>"$TOUR/types"
        cursor=$(jq -r 'if .has_more then .next_cursor else "" end' <<<"$page")
        [ -n "$cursor" ] || break
    done
    sort "$TOUR/types" | uniq -c | sort -k1,1nr -k2 | sed 's/^/  /'
    say "  $(wc -l <"$TOUR/types") records"
    step "by hand"
    cat <<END
  . $STATE/env
  curl -H "Authorization: Bearer \$CHARTWAY_API_KEY" "\$CHARTWAY_URL/api/patients/$TOUR_PATIENT"
  curl -H "Authorization: Bearer \$CHARTWAY_API_KEY" "\$CHARTWAY_URL/api/patients/$TOUR_PATIENT/records?type=Observation&count=2"
  curl -H "Authorization: Bearer \$CHARTWAY_API_KEY" -H 'Content-Type: application/json' "\$CHARTWAY_URL/api/patient-sessions" \\
       -d '{"patient_id":"me","return_url":"$TOUR_RETURN"}'     # then open its url in a browser
  "\$CHARTWAY_CTL" source list --query sandbox
END
}
