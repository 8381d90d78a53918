//! The PROXY protocol, versions 1 and 2: a load balancer tells first whom a connection comes from
//! (<https://www.haproxy.org/download/2.9/doc/proxy-protocol.txt>). Whether it must is known beforehand by the peer's address; the
//! protocol says that a receiver must not guess.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::rt::Socket;

/// What version 2 begins with (§2.2).
const SIGNATURE: [u8; 12] = *b"\r\n\r\n\0\r\nQUIT\n";
/// What version 1 begins with (§2.1).
const WORD: &[u8] = b"PROXY ";
/// Bytes of the longest line of version 1, its end included (§2.1).
const LINE_BYTES_MAX: usize = 107;
/// Bytes that follow the fixed part of version 2 at most: addresses, and what else a balancer has to say.
const REST_BYTES_MAX: usize = 4096;
/// Bytes of the fixed part of version 2.
const FIXED_BYTES: usize = 16;

/// Why the beginning of a connection was not taken.
#[derive(Debug, thiserror::Error)]
pub(super) enum ProxyError {
    #[error("it does not begin with a header of the PROXY protocol")]
    Absent,
    #[error("its PROXY header is malformed: {0}")]
    Malformed(&'static str),
    #[error("its PROXY header did not come in time, or the connection ended before it")]
    Ended,
}

/// What is known after some bytes.
#[derive(Debug, PartialEq, Eq)]
enum Step {
    /// At least so many bytes more belong to the header.
    More(usize),
    /// The header is whole; `None` where the balancer speaks for itself (health checks) or does not know.
    Done(Option<SocketAddr>),
}

/// Reads the header and not a byte more. The caller sets the deadline.
///
/// # Errors
/// [`ProxyError`]; the connection is of no use then.
pub(super) async fn read(socket: &mut Socket) -> Result<Option<SocketAddr>, ProxyError> {
    let mut bytes = Vec::with_capacity(LINE_BYTES_MAX);
    loop {
        let more = match step(&bytes)? {
            Step::More(more) => more,
            Step::Done(source) => return Ok(source),
        };
        let start = bytes.len();
        bytes.resize(start + more, 0);
        match socket.read(bytes.get_mut(start..).unwrap_or_default()).await {
            Ok(got @ 1..) => bytes.truncate(start + got),
            _ => return Err(ProxyError::Ended),
        }
    }
}

fn step(bytes: &[u8]) -> Result<Step, ProxyError> {
    let known = bytes.len().min(SIGNATURE.len());
    if bytes.get(..known) == SIGNATURE.get(..known) {
        return if known < SIGNATURE.len() { Ok(Step::More(SIGNATURE.len() - known)) } else { version_2(bytes) };
    }
    let known = bytes.len().min(WORD.len());
    if bytes.get(..known) != WORD.get(..known) {
        return Err(ProxyError::Absent);
    }
    // The shortest line is longer than the signature, so nothing was read too far.
    match bytes.strip_suffix(b"\r\n") {
        Some(line) => version_1(line).map(Step::Done),
        None if bytes.len() >= LINE_BYTES_MAX => Err(ProxyError::Malformed("its line is too long")),
        None => Ok(Step::More(SIGNATURE.len().saturating_sub(bytes.len()).max(1))),
    }
}

fn version_1(line: &[u8]) -> Result<Option<SocketAddr>, ProxyError> {
    let bad = ProxyError::Malformed("its line is not as version 1 says");
    let Ok(line) = std::str::from_utf8(line) else { return Err(bad) };
    let mut words = line.split(' ').skip(1);
    let family = words.next();
    if family == Some("UNKNOWN") {
        return Ok(None);
    }
    let [Some(source), Some(target), Some(source_port), Some(target_port), None] =
        std::array::from_fn(|_| words.next())
    else {
        return Err(bad);
    };
    let address = |text: &str| match family {
        Some("TCP4") => text.parse::<Ipv4Addr>().ok().map(IpAddr::V4),
        Some("TCP6") => text.parse::<Ipv6Addr>().ok().map(IpAddr::V6),
        _ => None,
    };
    match (address(source), address(target), port(source_port), port(target_port)) {
        (Some(source), Some(_), Some(port), Some(_)) => Ok(Some(SocketAddr::new(source, port))),
        _ => Err(bad),
    }
}

/// Decimal digits without a leading zero (§2.1).
fn port(text: &str) -> Option<u16> {
    let plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| plain)
}

fn version_2(bytes: &[u8]) -> Result<Step, ProxyError> {
    let Some((fixed, rest)) = bytes.split_first_chunk::<FIXED_BYTES>() else {
        return Ok(Step::More(FIXED_BYTES - bytes.len()));
    };
    let [.., command, family, high, low] = *fixed;
    let length = usize::from(u16::from_be_bytes([high, low]));
    if length > REST_BYTES_MAX {
        return Err(ProxyError::Malformed("it is too long"));
    }
    if rest.len() < length {
        return Ok(Step::More(length - rest.len()));
    }
    let source = match (command, family) {
        // Said by the balancer for itself.
        (0x20, _) => None,
        (0x21, 0x11) => Some(inet::<4>(rest)?),
        (0x21, 0x21) => Some(inet::<16>(rest)?),
        // Of no family, UNIX sockets and datagrams: whom it comes from cannot be said as an address.
        (0x21, 0x00 | 0x12 | 0x22 | 0x31 | 0x32) => None,
        _ => return Err(ProxyError::Malformed("its version, command or family is unknown")),
    };
    Ok(Step::Done(source))
}

/// Source and target address, then source and target port (§2.2).
fn inet<const N: usize>(rest: &[u8]) -> Result<SocketAddr, ProxyError>
where
    IpAddr: From<[u8; N]>,
{
    let source = rest.first_chunk::<N>().copied();
    let port = rest.get(2 * N..2 * N + 2).and_then(|port| port.try_into().ok()).map(u16::from_be_bytes);
    // The target's port ends the block.
    match (source, port, rest.get(2 * N + 3)) {
        (Some(source), Some(port), Some(_)) => Ok(SocketAddr::new(source.into(), port)),
        _ => Err(ProxyError::Malformed("its addresses are cut short")),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// Reads as [`read`] does, from bytes; gives the source and how many bytes were taken.
    fn take(bytes: &[u8]) -> Result<(Option<SocketAddr>, usize), ProxyError> {
        let mut taken = 0;
        loop {
            match step(&bytes[..taken])? {
                Step::Done(source) => return Ok((source, taken)),
                Step::More(more) if taken + more > bytes.len() => return Err(ProxyError::Ended),
                Step::More(more) => taken += more,
            }
        }
    }

    fn v2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
        let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
        [&SIGNATURE[..], &[command, family], &length, rest].concat()
    }

    #[test]
    fn the_source_is_read_and_nothing_after_it() {
        let tcp4 = b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443\r\n";
        let (source, taken) = take(&[&tcp4[..], b"GET / HTTP/1.1\r\n\r\n"].concat()).unwrap();
        assert_eq!((source, taken), (Some("192.0.2.7:56324".parse().unwrap()), tcp4.len()));
        let tcp6 = b"PROXY TCP6 2001:db8::7 2001:db8::1 1 65535\r\nGET";
        assert_eq!(take(tcp6).unwrap().0, Some("[2001:db8::7]:1".parse().unwrap()));
        for unknown in [&b"PROXY UNKNOWN\r\n"[..], b"PROXY UNKNOWN ff:: 1 2 3\r\n"] {
            assert_eq!(take(&[unknown, b"GET"].concat()).unwrap(), (None, unknown.len()));
        }
        let addresses = [192, 0, 2, 7, 198, 51, 100, 1, 0xdc, 0x04, 1, 0xbb];
        let with_more = [&addresses[..], &[0x04, 0, 1, 0]].concat();
        for rest in [&addresses[..], &with_more] {
            let header = v2(0x21, 0x11, rest);
            let (source, taken) = take(&[&header[..], b"GET"].concat()).unwrap();
            assert_eq!((source, taken), (Some("192.0.2.7:56324".parse().unwrap()), header.len()));
        }
        let mut v6 = [0; 36];
        (v6[0], v6[15], v6[33]) = (0xfd, 1, 80);
        assert_eq!(take(&v2(0x21, 0x21, &v6)).unwrap().0, Some("[fd00::1]:80".parse().unwrap()));
        for silent in [v2(0x20, 0x00, &[]), v2(0x20, 0x11, &addresses), v2(0x21, 0x00, &[]), v2(0x21, 0x31, &[0; 216])]
        {
            assert_eq!(take(&silent).unwrap().0, None);
        }
    }

    #[test]
    fn what_is_none_is_refused() {
        for bad in [
            b"GET / HTTP/1.1\r\n\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 056324 443\r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 443 \r\n".to_vec(),
            b"PROXY TCP4 192.0.2.7 198.51.100.1 56324 65536\r\n".to_vec(),
            b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n".to_vec(),
            b"PROXY TCP5 192.0.2.7 198.51.100.1 1 2\r\n".to_vec(),
            [b"PROXY UNKNOWN ".to_vec(), vec![b'x'; 200]].concat(),
            v2(0x11, 0x11, &[0; 12]),
            v2(0x22, 0x11, &[0; 12]),
            v2(0x21, 0x11, &[0; 11]),
            v2(0x21, 0x41, &[0; 12]),
            v2(0x21, 0x11, &[0; 5000]),
        ] {
            let said = take(&bad);
            assert!(matches!(said, Err(ProxyError::Absent | ProxyError::Malformed(_))), "{bad:?}: {said:?}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(bytes: Vec<u8>, which in 0usize..3) {
            let beginning = [&b""[..], WORD, &SIGNATURE][which];
            let _ = take(&[beginning, &bytes].concat());
        }
    }
}
