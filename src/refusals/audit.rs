//! The audit log and its hash chain.

sentences! { "audit":
    action(actions) = "is not an action of the audit log; it has these, and their first word stands for all of a kind: {actions}";
    checkpoint_changed() = "the checkpoint of the last cut was changed";
    event_changed(event) = "event {event} was changed";
    event_missing(event) = "event {event} is missing";
    event_uncut(event) = "event {event} is there although it was cut";
    event_unreadable(event) = "event {event} cannot be read";
    head_changed() = "the head of the chain was changed";
    head_missing() = "the head of the chain is missing";
    in_the_future() = "must not be in the future";
    kept(days, from) = "the events of the last {days} {days:day|days} stay (audit_keep_min); cut those before {from}, or run latchkey audit prune on the machine of the server, which may cut all";
    outcome() = "must be allowed or denied";
    span() = "must be at most 92 days before until";
    workspace(workspace) = "is not a workspace that you can see: {workspace}";
}
