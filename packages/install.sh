#!/bin/sh
# Installs cxnpoll from the directory of this script, for all users. It runs in any POSIX shell, also that of Alpine.
#
#   sh install.sh [--prefix DIR]                           install or upgrade
#   sh PREFIX/share/cxnpoll/install.sh --uninstall         remove the program; configuration, store and logs stay
#   sh PREFIX/share/cxnpoll/install.sh --uninstall --purge remove these, too, and the user
#
# The default of PREFIX is /usr/local. With --root DIR, files are installed below DIR, and no user is created.
set -eu

usage() {
    sed -n '2,/^$/s/^# \{0,1\}//p' "$0"
    exit 2
}

prefix=/usr/local root='' action=install purge=no
while [ $# -gt 0 ]; do
    case "$1" in
    --prefix) prefix=${2:?} && shift ;;
    --root) root=${2:?} && shift ;;
    --uninstall) action=uninstall ;;
    --purge) purge=yes ;;
    *) usage ;;
    esac
    shift
done
here=$(cd "$(dirname "$0")" && pwd)
# An installed script knows its prefix.
if [ "$action" = uninstall ] && [ -f "$here/files" ]; then
    prefix=${here#"$root"}
    prefix=${prefix%/share/cxnpoll}
fi
lists=$root$prefix/share/cxnpoll

running_systemd() {
    [ -z "$root" ] && [ -d /run/systemd/system ]
}

# Creates a directory, and those above it, and notes each for the removal.
make_dir() {
    [ ! -d "$root$1" ] || return 0
    make_dir "$(dirname "$1")"
    mkdir -m 755 "$root$1"
    printf '%s\n' "$1" >>"$lists/directories"
}

# Prints where a file of the tree is installed; nothing for one that is of no use here.
place_of() {
    case "$1" in
    usr/share/lintian/*) ;;
    etc/logrotate.d/*) [ ! -d "$root/etc/logrotate.d" ] || echo "/$1" ;;
    # Where zsh looks for what is not of the distribution.
    usr/share/zsh/vendor-completions/*) echo "$prefix/share/zsh/site-functions/${1##*/}" ;;
    usr/*) echo "$prefix/${1#usr/}" ;;
    *) echo "/$1" ;;
    esac
}

create_user() {
    if getent passwd cxnpoll >/dev/null 2>&1 || grep -q '^cxnpoll:' /etc/passwd; then
        return
    fi
    if command -v useradd >/dev/null; then
        useradd --system --user-group --home-dir /var/lib/cxnpoll --no-create-home --shell /sbin/nologin cxnpoll
    else
        addgroup -S cxnpoll
        adduser -S -D -H -h /var/lib/cxnpoll -s /sbin/nologin -G cxnpoll -g cxnpoll cxnpoll
    fi
}

remove_user() {
    # The jobs in its crontab would start again for a later user of this name.
    ! command -v crontab >/dev/null || crontab -u cxnpoll -r 2>/dev/null || true
    if command -v userdel >/dev/null; then
        ! grep -q '^cxnpoll:' /etc/passwd || userdel cxnpoll
        ! grep -q '^cxnpoll:' /etc/group || groupdel cxnpoll
    else
        ! grep -q '^cxnpoll:' /etc/passwd || deluser cxnpoll
        ! grep -q '^cxnpoll:' /etc/group || delgroup cxnpoll
    fi
}

# Removes the files of the former version that this one does not have.
remove_former() {
    while read -r file; do
        grep -qxF "$file" "$lists/files" || rm -f "$root$file"
    done <"$lists/files.former"
    rm "$lists/files.former"
}

install_files() {
    if [ ! -d "$lists" ]; then
        # The directories cannot be noted before there is one for the note.
        made=$prefix/share/cxnpoll
        while [ ! -d "$root$made" ]; do
            set -- "$made" "$@"
            made=$(dirname "$made")
        done
        mkdir -p "$lists"
        for made; do
            printf '%s\n' "$made" >>"$lists/directories"
        done
    fi
    [ ! -f "$lists/files" ] || mv "$lists/files" "$lists/files.former"
    : >"$lists/files"
    (cd "$here" && find usr etc -type f | sort) | while read -r file; do
        place=$(place_of "$file")
        [ -n "$place" ] || continue
        case "$place" in
        # A configuration that was changed stays.
        /etc/*) [ ! -e "$root$place" ] || continue ;;
        *) printf '%s\n' "$place" >>"$lists/files" ;;
        esac
        make_dir "$(dirname "$place")"
        # Replaced at once, so that a run never starts half a program.
        cp "$here/$file" "$root$place.new"
        mv -f "$root$place.new" "$root$place"
    done
    cp "$here/install.sh" "$lists/install.sh"
    [ ! -f "$lists/files.former" ] || remove_former
}

if [ "$action" = install ]; then
    umask 022
    [ -d "$here/usr" ] || usage
    install_files
    if [ -z "$root" ]; then
        create_user
        mkdir -p /etc/cxnpoll/jobs
        [ -d /var/lib/cxnpoll ] || { mkdir -m 700 /var/lib/cxnpoll && chown cxnpoll:cxnpoll /var/lib/cxnpoll; }
        [ -d /var/log/cxnpoll ] || { mkdir -m 750 /var/log/cxnpoll && chown cxnpoll:cxnpoll /var/log/cxnpoll; }
        ! running_systemd || systemctl daemon-reload
    fi
    echo "installed $root$prefix/bin/cxnpoll"
    exit
fi

[ -f "$lists/files" ] || { echo "error: cxnpoll is not installed in $root$prefix" >&2 && exit 1; }
if running_systemd; then
    systemctl stop 'cxnpoll@*.timer' 'cxnpoll@*.service'
fi
while read -r file; do
    rm -f "$root$file"
done <"$lists/files"
if [ "$purge" = yes ]; then
    rm -rf "$root/etc/cxnpoll" "$root/var/lib/cxnpoll" "$root/var/log/cxnpoll"
    rm -f "$root/etc/logrotate.d/cxnpoll" "$root"/etc/systemd/system/timers.target.wants/cxnpoll@*.timer
    rm -f "$root"/var/lib/systemd/timers/stamp-cxnpoll@*.timer
    [ -n "$root" ] || remove_user
fi
# The deepest directories first. Those that are not empty stay.
directories=$(sort -r "$lists/directories")
rm -rf "$lists"
for directory in $directories; do
    rmdir "$root$directory" 2>/dev/null || true
done
! running_systemd || systemctl daemon-reload
echo "removed cxnpoll from $root$prefix"
