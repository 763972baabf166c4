//! A TCP proxy before a Kafka broker that breaks what it carries: cuts, slows, swallows, garbles.
//!
//! It knows just enough of Kafka's protocol to be seen as the broker: every frame begins with its length, and where an
//! answer names the broker's own address the proxy writes its own port there, so that the client comes back here.

use std::collections::HashMap;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

/// Answers at most this long may name brokers; longer ones carry records and pass as they come.
const REWRITTEN: usize = 64 << 10;
const CHUNK: usize = 16 << 10;
const FETCH: [u8; 2] = [0, 1];

/// What the proxy does to its connections, and what it has done: the proof that a fault took place.
#[derive(Default)]
pub struct Faults {
    /// Neither forwards anything nor closes anything.
    black_hole: AtomicBool,
    /// Cuts each connection after so many bytes of answers; 0: never.
    cut_after: AtomicU64,
    /// Waits so long before each chunk of an answer, in microseconds.
    delay: AtomicU64,
    /// Connections below this number lose their fetch requests.
    deaf_below: AtomicU64,
    /// How many answers with the part are still to be garbled.
    garble: AtomicU64,
    garble_part: Mutex<Vec<u8>>,
    /// Takes no connection.
    refuses: AtomicBool,
    pub connections: AtomicU64,
    pub cuts: AtomicU64,
    pub swallowed: AtomicU64,
    pub garbled: AtomicU64,
    pub answered: AtomicU64,
}

/// A running proxy; it ends with this value, and its connections with it.
pub struct Proxy {
    pub faults: Arc<Faults>,
    address: SocketAddr,
    streams: Streams,
    ending: Arc<AtomicBool>,
}

type Streams = Arc<Mutex<HashMap<u64, [TcpStream; 2]>>>;

impl Proxy {
    /// A proxy before the broker at `upstream` (`host:port`).
    pub fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let proxy = Self {
            faults: Arc::default(),
            address: listener.local_addr().unwrap(),
            streams: Arc::default(),
            ending: Arc::default(),
        };
        let upstream: SocketAddr = upstream.parse().unwrap();
        let (faults, streams, ending) = (proxy.faults.clone(), proxy.streams.clone(), proxy.ending.clone());
        let port = proxy.address.port();
        std::thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if ending.load(Ordering::SeqCst) {
                    break;
                }
                let number = faults.connections.fetch_add(1, Ordering::SeqCst);
                let up = TcpStream::connect(upstream).ok();
                if let Some(broker) = up.filter(|_| !faults.refuses.load(Ordering::SeqCst)) {
                    carry(number, client, broker, port, &faults, &streams);
                }
            }
        });
        proxy
    }

    /// Its address, `host:port`.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// Cuts all connections now.
    pub fn cut(&self) {
        for [client, broker] in self.streams.lock().unwrap().values() {
            let _closed = client.shutdown(Shutdown::Both);
            let _closed = broker.shutdown(Shutdown::Both);
            self.faults.cuts.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Takes no connection and cuts those there are, or takes them again.
    pub fn refuse(&self, refuses: bool) {
        self.faults.refuses.store(refuses, Ordering::SeqCst);
        if refuses {
            self.cut();
        }
    }

    /// Cuts each connection, those to come too, after so many more bytes of answers; 0: no more.
    pub fn cut_after(&self, bytes: u64) {
        self.faults.cut_after.store(bytes, Ordering::SeqCst);
    }

    /// Holds back everything without closing anything, or lets it through again.
    pub fn black_hole(&self, on: bool) {
        self.faults.black_hole.store(on, Ordering::SeqCst);
    }

    /// Waits before each chunk of 16 KiB of an answer.
    pub fn delay(&self, delay: Duration) {
        let micros = u64::try_from(delay.as_micros()).unwrap();
        self.faults.delay.store(micros, Ordering::SeqCst);
    }

    /// Swallows the fetch requests of the connections there are; everything else on them is answered as ever.
    pub fn swallow_fetches(&self) {
        let so_far = self.faults.connections.load(Ordering::SeqCst);
        self.faults.deaf_below.store(so_far, Ordering::SeqCst);
    }

    /// Swallows the fetch requests of all connections, those to come too.
    pub fn swallow_all_fetches(&self) {
        self.faults.deaf_below.store(u64::MAX, Ordering::SeqCst);
    }

    /// Lets every fetch request through again.
    pub fn swallow_no_fetches(&self) {
        self.faults.deaf_below.store(0, Ordering::SeqCst);
    }

    /// Changes a byte near the end of each of the next `answers` that have `part` in them.
    pub fn garble(&self, answers: u64, part: &[u8]) {
        *self.faults.garble_part.lock().unwrap() = part.to_vec();
        self.faults.garble.store(answers, Ordering::SeqCst);
    }

    /// One of the counters.
    pub fn count(&self, counter: impl Fn(&Faults) -> &AtomicU64) -> u64 {
        counter(&self.faults).load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.ending.store(true, Ordering::SeqCst);
        self.cut();
        // Wakes the listener, which then sees that it is over.
        let _woken = TcpStream::connect(self.address);
    }
}

/// Carries one connection on two threads until either side ends.
fn carry(number: u64, client: TcpStream, broker: TcpStream, port: u16, faults: &Arc<Faults>, streams: &Streams) {
    let twin = |stream: &TcpStream| stream.try_clone().unwrap();
    for stream in [&client, &broker] {
        stream.set_nodelay(true).unwrap();
    }
    let both = [twin(&client), twin(&broker)];
    streams.lock().unwrap().insert(number, both);
    let upstream_port = broker.peer_addr().unwrap().port();
    let (requests, answers) = ((twin(&client), twin(&broker)), (broker, client));
    let shared = faults.clone();
    std::thread::spawn(move || {
        let (mut from, mut to) = requests;
        while let Some(frame) = read_frame(&mut from) {
            shared.wait_out_the_hole();
            if frame[4..6] == FETCH && number < shared.deaf_below.load(Ordering::SeqCst) {
                shared.swallowed.fetch_add(1, Ordering::SeqCst);
            } else if to.write_all(&frame).is_err() {
                break;
            }
        }
        let _closed = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
    });
    let (shared, streams) = (faults.clone(), streams.clone());
    std::thread::spawn(move || {
        let (mut from, mut to) = answers;
        let mut sent = 0;
        while let Some(mut frame) = read_frame(&mut from) {
            shared.wait_out_the_hole();
            if frame.len() <= REWRITTEN {
                rename(&mut frame, upstream_port, port);
            }
            shared.garble(&mut frame);
            if !shared.send(&frame, &mut to, &mut sent) {
                break;
            }
        }
        let _closed = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
        streams.lock().unwrap().remove(&number);
    });
}

impl Faults {
    fn wait_out_the_hole(&self) {
        while self.black_hole.load(Ordering::SeqCst) {
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    fn garble(&self, frame: &mut [u8]) {
        if self.garble.load(Ordering::SeqCst) == 0 {
            return;
        }
        let part = self.garble_part.lock().unwrap().clone();
        if frame.windows(part.len()).any(|window| window == part) {
            // The very end holds tags of the protocol, before it is the last batch.
            let at = frame.len() - 40;
            frame[at] ^= 0xff;
            self.garble.fetch_sub(1, Ordering::SeqCst);
            self.garbled.fetch_add(1, Ordering::SeqCst);
        }
    }

    /// Sends an answer, slowly or only its beginning where that is the fault. Returns whether to go on.
    fn send(&self, frame: &[u8], to: &mut TcpStream, sent: &mut u64) -> bool {
        for chunk in frame.chunks(CHUNK) {
            std::thread::sleep(Duration::from_micros(self.delay.load(Ordering::SeqCst)));
            let limit = self.cut_after.load(Ordering::SeqCst);
            let left = usize::try_from(limit.saturating_sub(*sent)).unwrap();
            if limit > 0 && left < chunk.len() {
                let _cut_anyway = to.write_all(&chunk[..left]);
                self.cuts.fetch_add(1, Ordering::SeqCst);
                return false;
            }
            if to.write_all(chunk).is_err() {
                return false;
            }
            *sent += chunk.len() as u64;
        }
        self.answered.fetch_add(1, Ordering::SeqCst);
        true
    }
}

/// One frame with its length before it; none at the end of the stream.
fn read_frame(from: &mut TcpStream) -> Option<Vec<u8>> {
    let mut length = [0; 4];
    from.read_exact(&mut length).ok()?;
    let mut frame = length.to_vec();
    frame.resize(4 + u32::from_be_bytes(length) as usize, 0);
    from.read_exact(&mut frame[4..]).ok()?;
    Some(frame)
}

/// Writes the port `to` where the frame names 127.0.0.1 with the port `from`.
fn rename(frame: &mut [u8], from: u16, to: u16) {
    let address = |port: u16| [&b"127.0.0.1"[..], &u32::from(port).to_be_bytes()].concat();
    let (from, to) = (address(from), address(to));
    let places: Vec<usize> = frame
        .windows(from.len())
        .enumerate()
        .filter(|(_, window)| *window == from)
        .map(|(at, _)| at)
        .collect();
    for at in places {
        frame[at..at + to.len()].copy_from_slice(&to);
    }
}
