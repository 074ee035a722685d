//! The audit log and its hash chain.

sentences! { "audit":
    checkpoint_changed() = "the checkpoint of the last cut was changed";
    event_changed(event) = "event {event} was changed";
    event_missing(event) = "event {event} is missing";
    event_uncut(event) = "event {event} is there although it was cut";
    event_unreadable(event) = "event {event} cannot be read";
    head_changed() = "the head of the chain was changed";
    head_missing() = "the head of the chain is missing";
    in_the_future() = "must not be in the future";
    kept(days, from) = "the events of the last {days} days stay (audit_keep_min); cut those before {from}, or run latchkey audit prune on the machine of the server, which may cut all";
    span() = "must be at most 92 days before until";
}
