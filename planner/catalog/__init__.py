"""The catalogue: models, chips, nodes and prices, every figure with its source, date and tier.

>>> from planner.catalog import load_catalog
>>> catalog = load_catalog()
>>> catalog.chip("h100-sxm").memory_bandwidth.shown
'3.35 TB/s'
"""

from planner.catalog.figures import TIERS, Figure, Source, Tier
from planner.catalog.grids import Grid
from planner.catalog.hardware import Chip, Node, Status
from planner.catalog.loading import load_catalog
from planner.catalog.lookup import Catalog, Entry
from planner.catalog.models import (
    Attention,
    AttentionKind,
    Ffn,
    FfnKind,
    LayerRun,
    Model,
    Projection,
)
from planner.catalog.price_tables import PriceTable, read_price_table
from planner.catalog.prices import (
    SERVICE_TIERS,
    ApiPrice,
    LongContext,
    MachinePrice,
    ServiceTier,
    Terms,
    TokenPrices,
)

__all__ = [
    "SERVICE_TIERS",
    "TIERS",
    "ApiPrice",
    "Attention",
    "AttentionKind",
    "Catalog",
    "Chip",
    "Entry",
    "Ffn",
    "FfnKind",
    "Figure",
    "Grid",
    "LayerRun",
    "LongContext",
    "MachinePrice",
    "Model",
    "Node",
    "PriceTable",
    "Projection",
    "ServiceTier",
    "Source",
    "Status",
    "Terms",
    "Tier",
    "TokenPrices",
    "load_catalog",
    "read_price_table",
]
