//! What glommio's sockets and timers cost a load generator: the figures beside which docs/decisions/0004 stands. A closed loop of GETs that
//! only writes and reads, then a schedule of 10,000/s that only sleeps and looks at the clock.
//!
//! `peers-glommio ADDRESS CONNECTIONS SECONDS`: the server must answer every GET with a body of two bytes, as nginx in
//! `benches/compare-load closed` does; pin it with `taskset`.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::cell::Cell;
use std::net::SocketAddr;
use std::rc::Rc;
use std::time::{Duration, Instant};

use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
use glommio::net::TcpStream;
use glommio::timer::sleep;
use glommio::{LocalExecutorBuilder, Placement, spawn_local};

const REQUEST: &[u8] = b"GET /health HTTP/1.1\r\nhost: bench\r\n\r\n";
const HEAD_END: &[u8] = b"\r\n\r\n";
const BODY_BYTES: usize = 2;
/// It may park with runnable tasks: without this the figures are of its pauses.
const HEARTBEAT: Duration = Duration::from_millis(10);
const GAP: Duration = Duration::from_micros(100);

fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [address, connections, seconds] = arguments.as_slice() else {
        panic!("usage: peers-glommio ADDRESS CONNECTIONS SECONDS")
    };
    let (address, connections) = (address.parse().unwrap(), connections.parse().unwrap());
    let length = Duration::from_secs(seconds.parse().unwrap());
    let executor = LocalExecutorBuilder::new(Placement::Unbound).io_memory(0).make().unwrap();
    executor.run(async move {
        spawn_local(async {
            loop {
                sleep(HEARTBEAT).await;
            }
        })
        .detach();
        let calls = closed_loop(address, connections, length).await;
        println!("{:.0} calls/s over {connections} connections", calls as f64 / length.as_secs_f64());
        let mut late = schedule(length).await;
        late.sort_unstable();
        let at = |share: f64| late[(late.len() as f64 * share) as usize].as_secs_f64() * 1e6;
        println!("10,000/s begun late by {:.0} µs (p50), {:.0} µs (p99)", at(0.5), at(0.99));
    });
}

async fn closed_loop(address: SocketAddr, connections: usize, length: Duration) -> u64 {
    let (calls, end) = (Rc::new(Cell::new(0)), Instant::now() + length);
    let callers: Vec<_> = (0..connections)
        .map(|_| {
            let calls = Rc::clone(&calls);
            spawn_local(async move {
                let mut socket = TcpStream::connect(address).await.unwrap();
                socket.set_nodelay(true).unwrap();
                let mut buffer = [0; 16 * 1024];
                while Instant::now() < end {
                    socket.write_all(REQUEST).await.unwrap();
                    let mut filled = 0;
                    loop {
                        let count = socket.read(&mut buffer[filled..]).await.unwrap();
                        assert!(count > 0, "the server closed the connection");
                        filled += count;
                        let head = memchr::memmem::find(&buffer[..filled], HEAD_END);
                        if head.is_some_and(|at| filled >= at + HEAD_END.len() + BODY_BYTES) {
                            break;
                        }
                    }
                    calls.set(calls.get() + 1);
                }
            })
        })
        .collect();
    for caller in callers {
        caller.await;
    }
    calls.get()
}

/// How late each of the moments of a schedule was met.
async fn schedule(length: Duration) -> Vec<Duration> {
    let (start, mut late) = (Instant::now(), Vec::new());
    let mut due = start;
    while due < start + length {
        due += GAP;
        let now = Instant::now();
        if due > now {
            sleep(due - now).await;
        }
        late.push(Instant::now().saturating_duration_since(due));
    }
    late
}
