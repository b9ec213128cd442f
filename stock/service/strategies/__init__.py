"""How stock is taken so that no order takes what another has: several ways, switched by a setting, compared by a bench.

Whatever lowers what is available adds to `stock.version`, under every strategy, so that instances with different
strategies may run side by side. What raises it only adds, in the database, and so disturbs no deduction.
"""
