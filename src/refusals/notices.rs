//! Notices and their sinks.

sentences! { "notices":
    kind() = "must be a kind of notices, such as key.expiring";
    no_sink(sink) = "the server has no sink {sink}; it is set with notice_file, notice_syslog or notice_webhook";
    sink() = "must be file, syslog or webhook";
}
