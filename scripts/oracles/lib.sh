# Sourced by the oracles: what they ask, and where they get what they compare with. Run from the root of the checkout.
. scripts/lib/python-env.sh

# judges: builds the programs that the oracles ask; sets JUDGE and PREFIXES.
judges() {
    cargo build --quiet -p policy-compiler --examples
    JUDGE=target/debug/examples/judge PREFIXES=target/debug/examples/prefixes
}

# source_of NAME URL COMMIT: the directory of a project's sources, in SOURCES. SALLYPORT_<NAME> names one that is at hand; else it is fetched.
# Fails if neither is to be had.
source_of() {
    local name=$1 url=$2 commit=$3 given
    given=SALLYPORT_${name^^}
    SOURCES=${!given:-target/oracles/$name-$commit}
    [[ -d $SOURCES ]] && return
    mkdir -p "$SOURCES.new"
    git -C "$SOURCES.new" init --quiet
    if timeout 60 git -C "$SOURCES.new" fetch --quiet --depth 1 "$url" "$commit" 2>/dev/null; then
        git -C "$SOURCES.new" checkout --quiet FETCH_HEAD
        mv "$SOURCES.new" "$SOURCES"
        return
    fi
    rm -rf "$SOURCES.new"
    return 1
}

# debian_package NAME: the files of a Debian package that need not be installed, in FILES.
debian_package() {
    FILES=target/oracles/$1
    [[ -d $FILES ]] && return
    mkdir -p "$FILES.new"
    (
        cd "$FILES.new"
        # The lists of packages may be too old, or not there.
        apt-get download -qq "$1" 2>/dev/null || { apt-get update -qq && apt-get download -qq "$1" 2>/dev/null; }
        dpkg -x "$1"_*.deb . && rm "$1"_*.deb
    )
    mv "$FILES.new" "$FILES"
}
