# Sourced by scripts that need Python packages. Keeps one virtual environment under target/.

# python_env REQUIREMENTS: makes or updates target/py (or $PYTHON_ENVIRONMENT) and sets PYTHON to its interpreter.
python_env() {
    local requirements=$1 environment=${PYTHON_ENVIRONMENT:-target/py}
    if [[ ! -x $environment/bin/python ]]; then
        python3 -m venv "$environment"
    fi
    PYTHON=$PWD/$environment/bin/python
    # Packages are installed again only when the list changed.
    if ! cmp -s "$requirements" "$environment/.installed-$(basename "$(dirname "$requirements")")"; then
        "$PYTHON" -m pip install --quiet --disable-pip-version-check --requirement "$requirements"
        cp "$requirements" "$environment/.installed-$(basename "$(dirname "$requirements")")"
    fi
}
