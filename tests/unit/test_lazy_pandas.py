"""alpaca-py loads without pandas, and still makes data frames for those who ask."""

from collections.abc import Callable


def test_the_broker_loads_no_pandas_until_a_data_frame_is_asked_for(
    command_python: Callable[..., str],
) -> None:
    said = command_python(
        """
import sys
import console.broker.transport
print("loaded" if "pandas" in sys.modules else "absent")
with console.broker.transport.pandas_on_demand():
    from alpaca.data.models import BarSet
bar = {"t": "2013-10-07T13:30:00Z", "o": 1, "h": 2, "l": 1, "c": 2, "v": 3, "n": 1, "vw": 1.5}
print(type(BarSet({"IBM": [bar]}).df).__module__.partition(".")[0], "pandas" in sys.modules)
import pandas
print(pandas.Timestamp("2013-10-07").year)
"""
    )
    assert said.split() == ["absent", "pandas", "True", "2013"]
