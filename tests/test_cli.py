"""The command line: its parser, the commands' flags and errors; what a command does is tested in its own room.

Parse-level tests run in this process; a few start the command as a user does.
"""

import os
import re
import subprocess
import sys
import time
from argparse import ArgumentTypeError
from pathlib import Path

import pytest

from tfb2d import cli
from tfb2d.cli.arguments import Parser, boolean, comma_list, number
from tfb2d.cli.recipes import all_settings, load, override
from tfb2d.cli.terminal import CHATTER
from tfb2d.config import Config, ConfigError
from tfb2d.errors import nearest
from tfb2d.recipes import names

ALL = [*cli.COMMANDS, *cli.TOOLS]
MODES = [["bench", mode] for mode in ("--serving", "--profile", "--teacher", "--tflite")]


@pytest.fixture
def parser() -> Parser:
    made = Parser("tfb2d test", "Tests.", ("--config.",))
    group = made.group("flags")
    group.flag("model", "A folder.", required=True)
    group.words("input", "Files.", ["a"])
    group.integer("rows", "A count.", 5, 1, most=9)
    group.real("share", "A share.", 0.5, 0.0, 1.0)
    group.numbers("sizes", "Counts.", (1, 2))
    group.numbers("rates", "Rates, if any.", (0.5,), float, 0.0, empty=True)
    group.choice("split", "Rows.", "valid", ("valid", "test"))
    group.switch("progress", "A bar.", True)
    group.flag("nearest", "N-grams.", repeated=True)
    group.texts("texts", "Texts.")
    made.add_general()
    return made


def test_every_spelling_of_a_flag(parser: Parser) -> None:
    options = parser.read(["--model=m", "--input=a, b,c", "--rows", "7", "--noprogress", "x y", "--nearest=a b", "z"])
    assert (options.model, options.input, options.rows, options.progress) == ("m", ["a", "b", "c"], 7, False)
    assert (options.texts, options.nearest, options.share) == (["x y", "z"], ["a b"], 0.5)
    for word, on in (
        ("--progress", True),
        ("--progress=false", False),
        ("--progress=0", False),
        ("--progress=True", True),
    ):
        assert parser.read(["--model=m", word, "text"]).progress is on
        assert parser.read(["--model=m", word, "text"]).texts == ["text"]
    assert parser.read(["--model=m", "--", "--odd", "text"]).texts == ["--odd", "text"]
    assert parser.read(["--model=m", "--nearest=a", "--nearest=b"]).nearest == ["a", "b"]
    assert parser.read(["--model=m"]).nearest == []
    assert parser.read(["--model=m", "--input="]).input == []
    assert parser.read(["--model=m"]).sizes == [1, 2]
    options = parser.read(["--model=m", "--sizes=3, 1_000", "--rates="])
    assert (options.sizes, options.rates) == ([3, 1000], [])


def test_settings_are_kept_in_their_order(parser: Parser) -> None:
    words = ["--config.a=1", "--model=m", "--config.b", "2", "--config.c=(1, 2)", "--config.d", "-3"]
    options = parser.read(words)
    assert options.settings == ["--config.a=1", "--config.b=2", "--config.c=(1, 2)", "--config.d=-3"]
    assert options.words == words


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--modle=a"], "there is no flag --modle; did you mean --model?"),
        (["--modle=a b"], "there is no flag --modle; did you mean --model?"),
        ([], "--model"),
        (["--model=m", "--rows=0"], "--rows: 0 is outside of its range: from 1 to 9"),
        (["--model=m", "--rows=ten"], "--rows: 'ten' is not a whole number"),
        (["--model=m", "--share=nan"], "--share: nan is outside"),
        (["--model=m", "--sizes=1,two"], "--sizes: 'two' is not a whole number"),
        (["--model=m", "--sizes=1,0"], "--sizes: 0 is outside of its range: 1 or more"),
        (["--model=m", "--sizes="], "--sizes: it takes at least one number"),
        (["--model=m", "--rates=nan"], "--rates: nan is outside"),
        (["--model=m", "--split=tset"], "'tset' is not known; did you mean test?"),
        (["--model=m", "--progress=maybe"], "--progress: 'maybe' is neither true nor false"),
        (["--model=m", "--rows"], "--rows: expected one argument"),
    ],
)
def test_a_wrong_flag_is_answered_in_a_line(
    parser: Parser, words: list[str], message: str, capsys: pytest.CaptureFixture
) -> None:
    with pytest.raises(SystemExit) as ended:
        parser.read(words)
    output = capsys.readouterr().err
    assert ended.value.code == 2
    assert message in output
    assert output.startswith("error: ")
    assert output.count("\n") == 1


def test_readers_of_values() -> None:
    assert comma_list('"a,b",c') == ["a,b", "c"]
    assert comma_list("") == []
    assert [boolean(text) for text in ("yes", "T", "no", "0")] == [True, True, False, False]
    assert number(int, None, None)("1_000") == 1000
    with pytest.raises(ArgumentTypeError, match="0 or more"):
        number(float, 0.0, None)("-1")
    assert nearest("scroe", ["score", "serve"]) == "; did you mean score?"
    assert nearest("xyz", ["score"]) == ""


@pytest.mark.parametrize("name", ALL)
def test_help_teaches(name: str, capsys: pytest.CaptureFixture) -> None:
    assert cli.main([name, "--help"]) == 0
    shown = capsys.readouterr().out
    examples = re.findall(rf"tfb2d {name}\b", shown.partition("\n")[2])
    assert len(examples) >= (1 if name in ("tune", "record") else 2), shown
    assert "--verbose" in shown
    assert "[default: None]" not in shown
    headings = re.findall(r"^[a-z].*:$", shown, re.MULTILINE)
    assert len(headings) >= 3


@pytest.mark.parametrize("words", [[name] for name in ALL] + MODES, ids=" ".join)
def test_every_command_names_the_nearest_flag(words: list[str], capsys: pytest.CaptureFixture) -> None:
    name, *mode = words
    _, parser = cli.parser_of(name, mode)
    if name == "serve":
        return  # an unknown flag does not stop tensorflow_model_server: tests/serving/server
    with pytest.raises(SystemExit) as ended:
        parser.read([*mode, "--vebrose"])
    assert ended.value.code == 2
    assert "there is no flag --vebrose; did you mean --verbose?" in capsys.readouterr().err


def test_flags_have_defaults_that_their_own_readers_take() -> None:
    numbers = set()
    for name in set(ALL) - {"serve"}:
        _, parser = cli.parser_of(name)
        entries = re.findall(r"^  --(\w+)(.*?)(?=^  -|^$|\Z)", parser.format_help(), re.MULTILINE | re.DOTALL)
        needed = [f"--{flag}=1" for flag, text in entries if "[required]" in text]
        usual = vars(parser.read(needed)) | {"words": []}
        for flag, text in entries:
            if shown := re.search(r"\[default: (-?[\d.e-]+)\]", text):
                numbers.add(f"{name} --{flag}")
                assert vars(parser.read([*needed, f"--{flag}={shown[1]}"])) | {"words": []} == usual, (name, flag)
    assert len(numbers) > 40


def test_the_overview_lists_every_command(capsys: pytest.CaptureFixture) -> None:
    assert cli.main([]) == 0
    shown = capsys.readouterr().out
    for name, command in (cli.COMMANDS | cli.TOOLS).items():
        assert re.search(rf"^  {name} +{re.escape(command.summary)}$", shown, re.MULTILINE)
    assert cli.main(["evalute"]) == 2
    assert "no command 'evalute'; did you mean evaluate?" in capsys.readouterr().err
    assert cli.main(["version"]) == 0
    assert "tensorflow " in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--config.student.dmi=3", "there is no setting student.dmi; did you mean student.dim?"),
        ("--config.studnt.dim=3", "there is no setting studnt.dim; did you mean student.dim?"),
        ("--config.teachers.minlm.epochs=3", "did you mean teachers.minilm.epochs?"),
        ("--config.student=3", "student is a group of settings: buckets, dim"),
        ("--config=quickstrt", "did you mean quickstart?"),
        ("--config quickstrt", "did you mean quickstart?"),
        ("--config=nowhere/recipe.py", "there is no recipe nowhere/recipe.py"),
        ("--until=dta", "there is no stage 'dta'"),
        ("--config.student.dim=wide", "student.dim is 'wide'; it takes int"),
        ("--config.student.orders=1,b", "student.orders is '1,b'; it takes a list of int"),
        ("--config.export.edge=perhaps", "export.edge: 'perhaps' is neither true nor false"),
        ("--config.student.dim", "--config.student.dim: it takes a value"),
        ("--config.data.train=nowhere.tsv", "nowhere.tsv: nothing found"),
        ("--max_rejected=0.1 --config.data.train=nowhere.tsv", "nowhere.tsv: nothing found"),
    ],
)
def test_what_train_cannot_do_is_said_in_a_line(
    words: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    assert cli.main(["train", *words.split(), f"--workdir={tmp_path}"]) == 1
    output = capsys.readouterr().err
    assert message in output
    assert output.splitlines()[-1].startswith("error: ")
    assert "Traceback" not in output


def settings(*words: str) -> Config:
    recipe = load("quickstart")
    override(recipe, words)
    return Config.from_dict(recipe)


def test_settings_have_the_types_of_the_dataclasses() -> None:
    config = settings(
        "--config.student.dim=32",
        "--config.training.learning_rate=1",
        "--config.data.classes=1,2",
        "--config.data.train=a.tsv,b.tsv",
        "--config.data.train=c.tsv",
        "--config.data.valid=('d, e.tsv',)",
        "--config.student.orders=(1, 2)",
        "--config.distill.weights=2",
        "--config.distill.stack=weighted",
        "--config.teachers.minilm.logits_column=7",
        "--noconfig.export.edge",
        "--config.data.augment.treebank",
        "--compress.max_megabytes=8",
        "--config.student.window=3",
        "--config.student.convolutions=",
        "--config.student.convolution_width=0",
    )
    assert config.student.dim == 32
    assert isinstance(config.training.learning_rate, float)
    assert config.data.classes == ("1", "2")
    assert config.data.train == ("a.tsv", "b.tsv", "c.tsv")
    assert config.data.valid == ("d, e.tsv",)
    assert config.student.orders == (1, 2)
    assert config.student.convolutions == ()
    assert config.distill.weights == (2.0,)
    assert config.teachers["minilm"].logits_column == "7"
    assert (config.export.edge, config.data.augment.treebank, config.compress.max_megabytes) == (False, True, 8.0)


@pytest.mark.parametrize("name", names())
def test_every_setting_of_every_recipe_can_be_written(name: str) -> None:
    before = Config.from_dict(load(name))
    flat = {path: _value(before, path) for path in all_settings(Config, before.to_dict().to_dict())}
    recipe = load(name)
    override(recipe, [f"--config.{path}={value}" for path, value in flat.items()])
    assert Config.from_dict(recipe) == before
    assert len(flat) > 85


def _value(config: object, path: str) -> object:
    for part in path.split("."):
        config = config[part] if isinstance(config, dict) else getattr(config, part)
    return config


def test_a_recipe_is_run_once_and_its_mistakes_name_the_line(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    ran = tmp_path / "ran"
    recipe = tmp_path / "mine.py"
    head = f"from pathlib import Path\nfrom tfb2d.config import *\nwith Path({str(ran)!r}).open('a') as file:\n"
    body = head + "    file.write('x')\ndef get_config(data):\n"
    made = "    return Config(data=DataConfig(train=(data,)), teachers={'a': TeacherConfig(preset='p')}).to_dict()\n"
    recipe.write_text(body + made, encoding="utf-8")
    assert cli.main(["train", f"--config={recipe}:none.tsv", f"--workdir={tmp_path / 'run'}"]) == 1
    assert "none.tsv: nothing found" in capsys.readouterr().err
    assert ran.read_text() == "x"
    for wrong, said in (
        ("    return 1 / 0\n", r"mine\.py, line 6: ZeroDivisionError"),
        ("    return (\n", r"mine\.py, line 6: SyntaxError"),
        ("    raise ConfigError('a folder is missing')\n", "^a folder is missing"),
    ):
        recipe.write_text(body + wrong, encoding="utf-8")
        with pytest.raises(ConfigError, match=said):
            load(f"{recipe}:x")
    recipe.write_text("x = 1\n", encoding="utf-8")
    with pytest.raises(ConfigError, match="defines get_config"):
        load(str(recipe))


def test_debug_gives_the_traceback(tmp_path: Path) -> None:
    with pytest.raises(ConfigError):
        cli.main(["train", "--config=quickstrt", "--debug"])


def command(*words: str, **more: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, *words], capture_output=True, text=True, check=False, timeout=120, **more)


@pytest.mark.parametrize("name", ALL)
def test_help_loads_nothing_heavy(name: str) -> None:
    code = (
        "import sys\nfrom tfb2d.cli import main\n"
        f"main([{name!r}, '--help'])\n"
        "heavy = {'tensorflow', 'keras', 'keras_hub', 'matplotlib', 'sklearn', 'scipy', 'grpc'}\n"
        "print('HEAVY', *(heavy & set(sys.modules)), file=sys.stderr)"
    )
    before = os.times()
    done = command("-c", code)
    after = os.times()
    assert done.stderr == "HEAVY\n"
    assert after.children_user + after.children_system - before.children_user - before.children_system < 1.0


def test_every_module_is_the_same_command(tmp_path: Path) -> None:
    for module in ("tfb2d.train", "tfb2d.bench", "tfb2d.monitor.shadow", "tfb2d.serving.tune"):
        done = command("-m", module, "--vebrose")
        assert done.returncode == 2, done.stderr
        assert "did you mean --verbose?" in done.stderr
    done = command("-m", "tfb2d", "export", f"--source={tmp_path}", f"--output={tmp_path}")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("error: ")
    assert done.stderr.count("\n") == 1


NATIVE = """
import os, subprocess, sys, time
from tfb2d.cli.terminal import quiet
lines = b"I0000 00:00:1.1 1 port.cc:1] oneDNN\\nE0000 00:00:1 1 cuda_platform.cc:5] failed call to cuInit\\n"
with quiet(verbose={verbose}):
    os.write(2, b"WARNING: All log messages before absl::InitializeLog() is called are written to STDERR\\n" + lines)
    os.write(2, b"a library's error\\n")
    print("python's own", file=sys.stderr)
    child = "import os; os.write(2, b'child 5%\\\\r' + b'I0000 00:00:1.1 1 port.cc:1] from the child')"
    subprocess.run([sys.executable, "-c", child])
    time.sleep(0.2)
os.write(2, b"after\\n")
"""


@pytest.mark.parametrize("verbose", [False, True])
def test_chatter_of_native_libraries_stays_from_the_terminal(verbose: bool) -> None:
    output = command("-c", NATIVE.replace("{verbose}", str(verbose))).stderr
    assert output.endswith("after\n")
    for kept in ("a library's error", "python's own", "child 5%"):
        assert kept in output
    for chatter in ("oneDNN", "cuInit", "InitializeLog", "from the child"):
        assert (chatter in output) is verbose


@pytest.mark.parametrize(
    ("line", "chatter"),
    [
        (b"I0000 00:00:1795891609.074939    7559 port.cc:153] oneDNN custom operations are on.", True),
        (b"W0000 00:00:1795891609.074939    7559 gpu_device.cc:1] Cannot dlopen some GPU libraries.", True),
        (b"E0000 00:00:1 8906 cuda_dnn.cc:8454] Unable to register cuDNN factory", True),
        (b"2026-11-28 10:00:00.123456: I tensorflow/core/util/port.cc:153] oneDNN", True),
        (b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.", True),
        (b"F0000 00:00:1 8906 tensor.cc:1] Check failed: ok", False),
        (b"E0000 00:00:1 8906 ssl_transport_security.cc:1] Handshake failed", False),
        (b"error: rows.tsv: nothing found", False),
        (b"I saw 2026 films", False),
    ],
)
def test_which_lines_are_chatter(line: bytes, chatter: bool) -> None:
    assert bool(CHATTER.match(line)) is chatter


def test_a_command_that_loads_tensorflow_says_nothing_but_its_own(tmp_path: Path) -> None:
    done = command("-m", "tfb2d", "score", f"--model={tmp_path}", f"--input={tmp_path}", f"--output={tmp_path}/o.tsv")
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path}: neither a SavedModel")
    assert done.stderr.count("\n") == 1


def test_a_closed_pipe_ends_quietly() -> None:
    code = "import sys; from tfb2d.cli import main; sys.exit(main(['version']))"
    start = time.monotonic()
    done = subprocess.run(
        f'{sys.executable} -c "{code}" | true', shell=True, capture_output=True, text=True, check=False, timeout=60
    )
    assert done.stderr == "", time.monotonic() - start
