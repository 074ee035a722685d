//! The HTTP/1.1 server: sockets, connections, deadlines, framing, and the transition from async to synchronous Rust.
//!
//! It serves the closures of a [`Service`] and knows no route, no credential and no JSON. A byte passes through `accept`,
//! then `tls` if the server has a certificate, then `connection`, which reads it (`head`, `chunked`), runs the closures
//! (`handler`, on the I/O thread or on the `pool`) and sends the answer (`answer`, `outgoing`). `agent` does the same for the
//! questions of HAProxy in its own protocol. Every connection has one
//! of the `slots`, which enforce the deadlines, and belongs to one of the `workers`.

mod accept;
mod agent;
mod answer;
pub mod answer_head;
mod chunked;
mod closing;
mod connection;
mod handler;
mod head;
pub mod headers;
mod heap;
mod held;
mod limits;
mod memory;
mod outgoing;
mod pool;
pub mod probe;
pub mod reply;
pub mod request;
mod slots;
mod state;
pub mod timed;
pub mod tls;
mod workers;

use std::future::poll_fn;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::runtime::Runtime;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::Notify;

use self::accept::BoundListener;
use self::held::Ebb;
use self::limits::BLOCKING;
use self::pool::Pool;
use self::slots::{Slots, TICK};
use self::state::ServerState;
use self::tls::LiveTls;
use self::workers::Workers;
use crate::domain::time::Timestamp;
use crate::http1::reply::Reply;
use crate::http1::request::{Head, Request};

pub use accept::QUEUE_MAX;
pub use answer::reason;
pub use limits::{HEAD_BYTES, HEAD_BYTES_DEFAULT, Limits};
pub use pool::{Class, Turn};

/// The closures that answer requests. They run on several threads at once; a panic in one is answered with
/// [`Fault::Panicked`] and affects no other request.
pub struct Service {
    /// Decides, using the head alone, whether the body of a request is read. It uses memory only and never blocks.
    pub body_rule: Box<dyn Fn(&Head) -> BodyRule + Send + Sync>,
    /// Decides how a request queues for a blocking thread. It uses memory only and never blocks.
    pub turn: Box<dyn Fn(&Request) -> Turn + Send + Sync>,
    pub answer: Answerer,
    /// Renders a fault in the dialect of the path.
    pub fault: FaultWords,
    /// The time of day.
    pub now: Box<dyn Fn() -> Timestamp + Send + Sync>,
}

/// Answers a request. `None`, which is allowed for inline execution only, means that the request has to wait for
/// something: the server calls again on a blocking thread.
pub type Answerer = Box<dyn Fn(&Request, Execution) -> Option<Reply> + Send + Sync>;

/// Turns a fault into an answer.
pub type FaultWords = Box<dyn Fn(Fault, &Head) -> Reply + Send + Sync>;

/// Where `answer` runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Execution {
    /// On a blocking thread; there are few, and if too many requests wait for one, the answer is [`Fault::Busy`].
    Blocking,
    /// On the I/O thread: memory only. Every request is tried here first.
    Inline,
}

/// What happens to a body.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyRule {
    /// It is never read. If the request has a body, the answer closes the connection.
    Ignore,
    /// It is read whole, up to so many bytes; a longer body is [`Fault::TooLarge`], without reading it if its length
    /// was announced.
    UpTo(usize),
}

/// A failure before, or instead of, an answer.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Fault {
    /// 400: the body breaks the framing rules; the text is one sentence about how.
    BadFraming(&'static str),
    /// 408
    BodyTimeout,
    /// 503: too many requests wait for a blocking thread, or the heads or bodies that are being received take too much
    /// memory.
    Busy,
    /// 429: too many requests of this caller, or of its workspace, wait for a blocking thread.
    BusyCaller,
    /// 417: an `Expect` that is not `100-continue`.
    ExpectationFailed,
    /// 500: the program has a bug; the log has the details under the request id.
    Panicked,
    /// The head breaks the framing rules. The [`Head`] that comes with this fault contains only what was readable of
    /// method and path.
    Refused { status: u16, why: &'static str },
    /// 413
    TooLarge { limit_bytes: usize },
    /// 503: answers that clients have not read take too much memory, and this answer would need more.
    Unread,
}

/// Where connections come from. The caller binds the sockets, so that a port in use is reported before anything starts.
pub enum Listener {
    /// For HAProxy's questions in its own protocol, which the route of this path answers.
    AgentTcp(std::net::TcpListener, &'static str),
    /// The same over a Unix socket.
    AgentUnix(std::os::unix::net::UnixListener, &'static str),
    Tcp(std::net::TcpListener),
    Tls(std::net::TcpListener, LiveTls),
    Unix(std::os::unix::net::UnixListener),
}

/// Starts the drain from any thread.
#[derive(Clone, Default)]
pub struct Stopper(Arc<Notify>);

impl Stopper {
    pub fn new() -> Stopper {
        Stopper::default()
    }

    /// Has the same effect as SIGTERM: the server accepts no new connections, and `run` returns when the requests in
    /// flight are answered. After a second call `run` returns immediately.
    #[cfg(test)]
    pub fn stop(&self) {
        self.0.notify_one();
    }
}

/// The functions that `run` calls.
pub struct Hooks {
    /// Called once all listeners accept connections.
    pub on_ready: Box<dyn FnOnce() + Send>,
    /// Called at each SIGHUP, on the I/O thread of `run`: it must be short.
    pub on_hangup: Box<dyn Fn() + Send>,
    /// Called when the drain begins.
    pub on_stop: Box<dyn FnOnce() + Send>,
}

impl Default for Hooks {
    fn default() -> Hooks {
        Hooks {
            on_ready: Box::new(|| ()),
            on_hangup: Box::new(|| ()),
            on_stop: Box::new(|| ()),
        }
    }
}

/// The I/O threads and the signal handlers. Signals are caught from the start of this engine; one that arrives before
/// `run` is called takes effect then.
pub struct Engine {
    /// Accepts connections, enforces the deadlines and receives signals.
    runtime: Runtime,
    workers: Workers,
    signals: Signals,
}

impl Engine {
    /// `workers` is the number of I/O threads.
    pub fn start(workers: usize) -> io::Result<Engine> {
        heap::settle();
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name("http accept")
            .enable_io()
            .enable_time()
            .build()?;
        let within = runtime.enter();
        let signals = Signals::caught()?;
        drop(within);
        let workers = Workers::start(workers)?;
        Ok(Engine {
            runtime,
            workers,
            signals,
        })
    }

    /// Serves until SIGTERM, SIGINT or [`Stopper::stop`], then drains and returns. Blocks the calling thread.
    ///
    /// Fails only at the start, if a thread or a listener cannot be created.
    pub fn run(
        self,
        listeners: Vec<Listener>,
        service: Service,
        limits: Limits,
        hooks: Hooks,
        stopper: Stopper,
    ) -> io::Result<()> {
        let pool = Pool::start(BLOCKING, handler::work)?;
        let slots = Arc::new(Slots::new(limits));
        let state = Arc::new(ServerState::new(
            service,
            slots,
            pool,
            self.workers,
            random_bits(),
        ));
        let serving = serve(listeners, state, hooks, stopper, self.signals);
        let outcome = self.runtime.block_on(serving);
        // The time limit for the connections that are still open has passed.
        self.runtime.shutdown_background();
        outcome
    }
}

async fn serve(
    listeners: Vec<Listener>,
    state: Arc<ServerState>,
    hooks: Hooks,
    stopper: Stopper,
    mut signals: Signals,
) -> io::Result<()> {
    state.slots.sweep((state.service.now)());
    let sweeper = tokio::spawn(sweep(Arc::clone(&state)));
    let bound = listeners
        .into_iter()
        .map(BoundListener::open)
        .collect::<io::Result<Vec<_>>>()?;
    let accepting: Vec<_> = bound
        .into_iter()
        .map(|listener| tokio::spawn(listener.serve(Arc::clone(&state))))
        .collect();
    (hooks.on_ready)();

    signals.stop_asked(&stopper, &hooks.on_hangup).await;
    (hooks.on_stop)();
    state.slots.drain();
    for task in accepting {
        task.abort();
    }
    let drained = drained(&state.slots);
    let asked_again = signals.stop_asked(&stopper, &hooks.on_hangup);
    if !first_of(drained, asked_again).await {
        log::warn!("stopped at once, requests in flight are cut off");
    }
    sweeper.abort();
    Ok(())
}

/// Advances the clock of all deadlines while there are connections, and returns memory to the system after many
/// connections have ended. An idle server does not wake up.
async fn sweep(state: Arc<ServerState>) {
    let mut ticks = tokio::time::interval(TICK);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    let mut ebb = Ebb::default();
    loop {
        ticks.tick().await;
        state.slots.sweep((state.service.now)());
        let connections = state.slots.connections();
        let held = state.held.bytes(connections);
        let peak = state.held.take_peak_bytes(state.slots.take_peak());
        if ebb.is_out(held, peak, state.slots.now()) {
            heap::give_back();
        }
        if connections == 0 && !ebb.is_low(held) {
            state.slots.entered.notified().await;
        }
    }
}

/// Waits until the last connection has ended or `drain_s` has passed.
async fn drained(slots: &Slots) {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(slots.limits().drain_s);
    while !slots.is_empty() && tokio::time::Instant::now() < deadline {
        let _ = tokio::time::timeout(TICK, slots.left.notified()).await;
    }
    if !slots.is_empty() {
        log::warn!("some connections did not end in time and are cut off");
    }
}

/// Returns whether `first` ended before `second`.
async fn first_of(first: impl Future<Output = ()>, second: impl Future<Output = ()>) -> bool {
    let (mut first, mut second) = (pin!(first), pin!(second));
    poll_fn(|cx| match first.as_mut().poll(cx) {
        Poll::Ready(()) => Poll::Ready(true),
        Poll::Pending => second.as_mut().poll(cx).map(|()| false),
    })
    .await
}

/// The signals that the server handles. The standard library ignores SIGPIPE.
struct Signals {
    /// Caught so that a write beyond RLIMIT_FSIZE fails like a write to a full disk, instead of ending the process.
    _file_size: Signal,
    hangup: Signal,
    interrupt: Signal,
    terminate: Signal,
}

impl Signals {
    fn caught() -> io::Result<Signals> {
        let file_size = rustix::process::Signal::XFSZ.as_raw();
        Ok(Signals {
            _file_size: signal(SignalKind::from_raw(file_size))?,
            hangup: signal(SignalKind::hangup())?,
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    /// Returns when a signal or the stopper requests shutdown; until then it calls `on_hangup` at each SIGHUP.
    async fn stop_asked(&mut self, stopper: &Stopper, on_hangup: &(dyn Fn() + Send)) {
        let mut stopped = pin!(stopper.0.notified());
        poll_fn(|cx| {
            while let Poll::Ready(Some(())) = self.hangup.poll_recv(cx) {
                on_hangup();
            }
            let asked = self.interrupt.poll_recv(cx).is_ready()
                || self.terminate.poll_recv(cx).is_ready()
                || stopped.as_mut().poll(cx).is_ready();
            if asked {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        })
        .await;
    }
}

/// Random enough for identifiers: the standard library seeds its hash maps from the random source of the system.
pub fn random_bits() -> u32 {
    RandomState::new().build_hasher().finish() as u32
}
