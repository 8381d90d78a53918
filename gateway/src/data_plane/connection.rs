//! A caller's connection: one exchange after the other (RFC 9112 §9), until either side has had enough.

use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt;

use super::arrival::{Origin, arrive};
use super::core::Core;
use super::error::CallError;
use super::exchange::{self, After};
use super::http::{HeadError, HeadLimits, RequestHead, Wire};
use super::overload;
use super::rt::Socket;
use crate::metrics::Event;
use policy_compiler::dialect::ErrorKind;

/// Bytes that are read and thrown away after a refusal, so that the caller can read it before the connection is reset.
const LINGER_BYTES_MAX: usize = 256 * 1024;
/// And for how long.
const LINGER_TIME: Duration = Duration::from_secs(1);

/// Serves a connection to its end. A panic ends this connection only.
pub(super) async fn serve(core: Rc<Core>, socket: Socket) {
    let Ok(peer) = socket.peer_addr() else { return };
    let life = async {
        let Some(_counted) = core.count_connection() else {
            return Box::pin(overload::turn_away(&core, socket, peer)).await;
        };
        // On its own, so that the room for a handshake is given back after it.
        if let Some((mut client, origin)) = Box::pin(arrive(&core, socket, peer)).await {
            exchanges(&core, &mut client, &origin).await;
        }
    };
    if !contained(life).await {
        tracing::error!(%peer, "a connection ended in a bug of the gateway; please report this");
        core.shared.metrics.connection_panicked();
    }
}

/// Runs one connection's task to its end; whether it ended without a panic.
async fn contained(life: impl Future<Output = ()>) -> bool {
    AssertUnwindSafe(life).catch_unwind().await.is_ok()
}

async fn exchanges(core: &Rc<Core>, client: &mut Wire, origin: &Origin) {
    loop {
        let head = match next_head(core, client).await {
            Next::Head(head) => head,
            Next::End => return,
            Next::Refuse(error) => {
                Box::pin(exchange::refuse_malformed(core, client, origin.peer, error)).await;
                return linger(client).await;
            }
        };
        // A call needs several times the room of a connection that rests, so it has it only while it lasts.
        match Box::pin(exchange::run(core, client, origin, head)).await {
            After::KeepAlive => client.rest(),
            After::Close => return,
            After::Linger => return linger(client).await,
        }
    }
}

enum Next {
    Head(RequestHead),
    Refuse(CallError),
    End,
}

/// Waits for the next request: idle until its first byte, then within the time that a head may take.
async fn next_head(core: &Core, client: &mut Wire) -> Next {
    let live = core.live();
    let limits = &live.config.listen.limits;
    let bounds = HeadLimits { bytes: limits.head_bytes, fields: limits.head_fields };
    if client.unread().is_empty() {
        client.socket.read_within(limits.idle_keepalive);
        client.socket.set_idle(true);
        let filled = if core.is_leaving() { Ok(0) } else { client.fill().await };
        client.socket.set_idle(false);
        if !matches!(filled, Ok(1..)) {
            if client.socket.timed_out() && !core.is_draining() {
                core.shared.metrics.events.count(Event::IdleTimeout);
            }
            return Next::End;
        }
    }
    client.socket.read_within(limits.head_timeout);
    loop {
        match RequestHead::parse(client.unread(), bounds) {
            Ok(Some((head, length))) => {
                client.consume(length);
                client.socket.never_times_out();
                return Next::Head(head);
            }
            Ok(None) => {}
            Err(error) => return Next::Refuse(head_error(&error)),
        }
        match client.fill().await {
            Ok(1..) => {}
            _ if client.socket.timed_out() => {
                let message = format!("The request head did not arrive within {} s.", limits.head_timeout.as_secs());
                return Next::Refuse(CallError::new(ErrorKind::Timeout, "head_timeout", message));
            }
            _ => return Next::End,
        }
    }
}

fn head_error(error: &HeadError) -> CallError {
    let message = error.to_string();
    match error {
        HeadError::Malformed(_) => CallError::new(ErrorKind::BadRequest, "malformed_request", message),
        HeadError::TooLarge(_) | HeadError::TooManyFields(_) => {
            CallError::new(ErrorKind::HeadTooLarge, "head_too_large", message)
        }
        HeadError::Version => CallError::new(ErrorKind::BadRequest, "http_version", message).status(505),
        HeadError::TransferCoding => CallError::new(ErrorKind::BadRequest, "transfer_coding", message).status(501),
        HeadError::Expectation => CallError::new(ErrorKind::BadRequest, "expectation", message).status(417),
    }
}

/// Closing at once with unread bytes makes the kernel reset the connection, and the caller may never see the answer
/// (RFC 9112 §9.6): close our side, then read on for a moment.
pub(super) async fn linger(client: &mut Wire) {
    client.socket.close_writing();
    client.socket.move_within(LINGER_TIME);
    let mut read = 0;
    while read < LINGER_BYTES_MAX {
        let unread = client.unread().len();
        client.consume(unread);
        match client.fill().await {
            Ok(got @ 1..) => read += got,
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic)]
    use std::cell::Cell;
    use std::sync::mpsc;

    use super::super::rt;
    use super::*;

    #[test]
    fn a_panic_ends_one_task_and_the_core_goes_on() {
        const TICK: Duration = Duration::from_millis(1);
        let (say, said) = mpsc::channel();
        let executor = rt::spawn_executor(0, move || async move {
            let (ticks, survived) = (Rc::new(Cell::new(0)), Rc::new(Cell::new(None)));
            let (ticking, seen) = (Rc::clone(&ticks), Rc::clone(&survived));
            rt::spawn(async move {
                loop {
                    rt::sleep(TICK).await;
                    ticking.set(ticking.get() + 1);
                }
            });
            rt::spawn(async move {
                let broken = contained(async {
                    rt::sleep(TICK).await;
                    panic!("as a bug would");
                });
                seen.set(Some(broken.await));
            });
            while survived.get().is_none() {
                rt::sleep(TICK).await;
            }
            // Tasks that ran before go on, and new ones begin.
            let before = ticks.get();
            while ticks.get() < before + 20 {
                rt::sleep(TICK).await;
            }
            say.send((survived.get(), contained(async {}).await)).unwrap();
        });
        executor.unwrap().join().unwrap();
        assert_eq!(said.recv().unwrap(), (Some(false), true));
    }
}
