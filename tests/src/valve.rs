//! A TCP connection to a server that can be shut off and opened again.

use std::io;
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// How often the accepting thread looks whether it is still wanted.
const LOOK_EVERY: Duration = Duration::from_millis(10);

/// Passes connections on to one server for as long as it is open.
#[derive(Debug)]
pub struct Valve {
    address: SocketAddr,
    shared: Arc<Shared>,
    accepting: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    server: u16,
    open: AtomicBool,
    over: AtomicBool,
    /// Both ends of what passes through, and the threads that carry it.
    streams: Mutex<Vec<TcpStream>>,
    carriers: Mutex<Vec<JoinHandle<()>>>,
}

impl Valve {
    /// Opens a way to a port of this machine.
    pub fn to(server: u16) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let shared = Arc::new(Shared {
            server,
            open: AtomicBool::new(true),
            over: AtomicBool::new(false),
            streams: Mutex::default(),
            carriers: Mutex::default(),
        });
        let accepting = {
            let shared = Arc::clone(&shared);
            std::thread::spawn(move || shared.accept(&listener))
        };
        Ok(Self { address, shared, accepting: Some(accepting) })
    }

    /// The port on this side.
    pub fn port(&self) -> u16 {
        self.address.port()
    }

    /// Cuts what passes, and lets nothing more through.
    pub fn shut(&self) {
        self.shared.open.store(false, Ordering::SeqCst);
        self.shared.cut();
    }

    /// Lets new connections through.
    pub fn open(&self) {
        self.shared.open.store(true, Ordering::SeqCst);
    }
}

impl Shared {
    fn accept(&self, listener: &TcpListener) {
        while !self.over.load(Ordering::SeqCst) {
            match listener.accept() {
                // One that is dropped at once is closed: the caller learns that nobody is there.
                Ok((here, _)) if self.open.load(Ordering::SeqCst) => drop(self.carry(here)),
                Ok(_) => {}
                Err(_) => std::thread::sleep(LOOK_EVERY),
            }
        }
    }

    fn carry(&self, here: TcpStream) -> io::Result<()> {
        here.set_nonblocking(false)?;
        let there = TcpStream::connect((Ipv4Addr::LOCALHOST, self.server))?;
        let pairs = [(here.try_clone()?, there.try_clone()?), (there.try_clone()?, here.try_clone()?)];
        locked(&self.streams).extend([here, there]);
        for (mut from, mut to) in pairs {
            locked(&self.carriers).push(std::thread::spawn(move || {
                // However it ends, both ends learn of it.
                drop(io::copy(&mut from, &mut to));
                drop((from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both)));
            }));
        }
        Ok(())
    }

    fn cut(&self) {
        for stream in locked(&self.streams).drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

fn locked<T>(what: &Mutex<T>) -> MutexGuard<'_, T> {
    what.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Valve {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::SeqCst);
        if let Some(accepting) = self.accepting.take() {
            drop(accepting.join());
        }
        self.shared.cut();
        for carrier in locked(&self.shared.carriers).drain(..) {
            drop(carrier.join());
        }
    }
}
