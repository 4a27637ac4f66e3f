//! Apache and nginx with fcgiwrap as ordinary processes on loopback, from the packages of Debian.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use rustix::process::{Pid, Signal, kill_process_group};

use super::page::{Paths, snippet};
use crate::testkit::{tools, until};

/// Which web server starts the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Apache,
    Nginx,
}

/// A web server that runs, and fcgiwrap if it needs one. Dropping it ends both.
pub struct WebServer {
    pub addr: SocketAddr,
    log: PathBuf,
    children: Vec<Child>,
}

impl Kind {
    /// Whether its programs are there; otherwise this is reported.
    pub fn is_there(self) -> bool {
        let names: &[&str] = match self {
            Self::Apache => &["apache2"],
            Self::Nginx => &["nginx", "fcgiwrap"],
        };
        names.iter().all(|name| tools::require(name))
    }

    /// Starts it in the directory of a world. `workers` is how many requests fcgiwrap answers at once.
    pub fn start(self, dir: &Path, workers: u32) -> WebServer {
        let addr = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let (paths, log) = (Paths::new(dir), dir.join("error.log"));
        let children = match self {
            Self::Apache => vec![apache(dir, addr, &paths)],
            Self::Nginx => vec![fcgiwrap(&paths, workers, &log), nginx(dir, addr, &paths)],
        };
        let server = WebServer { addr, log, children };
        until("the web server listens", || TcpStream::connect(addr).is_ok());
        server
    }
}

impl WebServer {
    /// The error log, to which the program writes.
    pub fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// The process of fcgiwrap, whose children start the program.
    pub fn fcgiwrap(&self) -> u32 {
        self.children[0].id()
    }
}

impl Drop for WebServer {
    fn drop(&mut self) {
        for child in &mut self.children {
            let group = Pid::from_child(child);
            kill_process_group(group, Signal::TERM).unwrap();
            let _ = child.wait();
        }
    }
}

/// Returns the path of a program.
fn program(name: &str) -> PathBuf {
    tools::path(name).unwrap_or_else(|| panic!("{name} is not installed"))
}

/// Returns a command for a program whose libraries may be beside it, where a package was extracted.
fn command(path: &Path) -> Command {
    let libraries = path.parent().unwrap().join("../lib").join(format!("{}-linux-gnu", std::env::consts::ARCH));
    let mut command = Command::new(path);
    command.env_clear().env("PATH", "/usr/bin:/bin").env("LD_LIBRARY_PATH", libraries);
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    // fcgiwrap does not end its workers, so all processes of a server are ended together.
    command.process_group(0);
    command
}

/// Whether this process belongs to root.
fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

fn apache(dir: &Path, addr: SocketAddr, paths: &Paths) -> Child {
    let apache = program("apache2");
    let modules = apache.parent().unwrap().join("../lib/apache2/modules");
    let load = |name: &str| format!("LoadModule {name}_module {}/mod_{name}.so\n", modules.display());
    let dir = dir.display();
    let mut text = format!(
        "ServerRoot {dir}\nServerName localhost\nListen {addr}\nPidFile {dir}/apache.pid\nErrorLog {dir}/error.log\n\
         DefaultRuntimeDir {dir}\nMutex file:{dir} default\nScriptSock {dir}/cgid.socket\nAllowEncodedSlashes NoDecode\n"
    );
    text.extend(["mpm_event", "authz_core", "alias", "cgid"].map(load));
    // The user of the test is that of the store.
    text += &paths.adapt(&snippet("apache", "ScriptAlias /cxn")).replace("SuexecUserGroup cxnpoll cxnpoll\n", "");
    text += &paths.adapt(&snippet("apache", "ScriptAliasMatch"));
    text += "<Location />\nRequire all granted\n</Location>\n";
    let config = format!("{dir}/apache.conf");
    fs::write(&config, text).unwrap();
    let mut command = if is_root() {
        // Apache does not serve as root. In this namespace the user of the test has another number.
        let mut unshare = command(Path::new("/usr/bin/unshare"));
        let libraries = command(&apache);
        unshare.envs(libraries.get_envs().filter_map(|(name, value)| Some((name, value?))));
        unshare.args(["--user", "--map-user=33", "--map-group=33"]).arg(&apache);
        unshare
    } else {
        command(&apache)
    };
    command.args(["-f", &config, "-DFOREGROUND"]).spawn().unwrap()
}

fn fcgiwrap(paths: &Paths, workers: u32, log: &Path) -> Child {
    let options = snippet("ini", "ExecStart=");
    let options = options.lines().find_map(|line| line.strip_prefix("ExecStart=/usr/sbin/fcgiwrap ")).unwrap();
    let options = paths.adapt(options).replace("-c 20", &format!("-c {workers}"));
    let socket = format!("unix:{}", paths.socket.display());
    let log = fs::File::options().create(true).append(true).open(log).unwrap();
    let mut command = command(&program("fcgiwrap"));
    let child = command.args(["-s", &socket]).args(options.split(' ')).stderr(log).spawn().unwrap();
    until("fcgiwrap listens", || UnixStream::connect(&paths.socket).is_ok());
    child
}

fn nginx(dir: &Path, addr: SocketAddr, paths: &Paths) -> Child {
    let nginx = program("nginx");
    let parameters =
        [nginx.parent().unwrap().join("../../etc/nginx/fastcgi_params"), "/etc/nginx/fastcgi_params".into()];
    let parameters = parameters.iter().find(|path| path.exists()).expect("nginx-common has fastcgi_params");
    fs::copy(parameters, dir.join("fastcgi_params")).unwrap();
    let temporary = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"];
    let temporary: String =
        temporary.map(|name| format!("{name}_temp_path {};\n", dir.join("nginx").join(name).display())).concat();
    fs::create_dir_all(dir.join("nginx")).unwrap();
    let user = if is_root() { "user root;\n" } else { "" };
    let locations = ["location /cxn/", "location ~"].map(|start| paths.adapt(&snippet("nginx", start))).concat();
    let text = format!(
        "{user}daemon off;\nworker_processes 1;\npid {0}/nginx.pid;\nerror_log {0}/error.log;\nevents {{}}\nhttp {{\n\
         access_log off;\n{temporary}server {{\nlisten {addr};\n{locations}}}\n}}\n",
        dir.display()
    );
    fs::write(dir.join("nginx.conf"), text).unwrap();
    let (dir, log) = (dir.to_str().unwrap(), dir.join("error.log"));
    let config = format!("{dir}/nginx.conf");
    let mut command = command(&nginx);
    command.args(["-p", dir, "-c", &config, "-e", log.to_str().unwrap()]).spawn().unwrap()
}
