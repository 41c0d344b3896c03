from mlops._command import main

raise SystemExit(main())
